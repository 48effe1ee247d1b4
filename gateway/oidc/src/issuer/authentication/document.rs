//! The file as written: every field of the API, none besides, each text with its place.

use serde::Deserialize;
use serde_saphyr::Spanned;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Document {
    pub(super) api_version: Spanned<String>,
    pub(super) kind: Spanned<String>,
    #[serde(default)]
    pub(super) jwt: Vec<Spanned<Authenticator>>,
    #[serde(default)]
    pub(super) anonymous: Option<Spanned<Anonymous>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Anonymous {
    pub(super) enabled: bool,
    #[serde(default)]
    pub(super) conditions: Vec<AnonymousCondition>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnonymousCondition {
    #[serde(rename = "path")]
    pub(super) _path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Authenticator {
    pub(super) issuer: Spanned<IssuerSection>,
    #[serde(default)]
    pub(super) claim_validation_rules: Vec<Spanned<ClaimRule>>,
    pub(super) claim_mappings: Spanned<Mappings>,
    #[serde(default)]
    pub(super) user_validation_rules: Vec<Spanned<UserRule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct IssuerSection {
    pub(super) url: Spanned<String>,
    #[serde(default, rename = "discoveryURL")]
    pub(super) discovery_url: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) certificate_authority: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) audiences: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) audience_match_policy: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) egress_selector_type: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClaimRule {
    #[serde(default)]
    pub(super) claim: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) required_value: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) expression: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) message: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UserRule {
    #[serde(default)]
    pub(super) expression: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) message: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Mappings {
    pub(super) username: Spanned<PrefixedSource>,
    #[serde(default)]
    pub(super) groups: Option<Spanned<PrefixedSource>>,
    #[serde(default)]
    pub(super) uid: Option<Spanned<PlainSource>>,
    #[serde(default)]
    pub(super) extra: Vec<Spanned<ExtraSource>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PrefixedSource {
    #[serde(default)]
    pub(super) claim: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) prefix: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) expression: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PlainSource {
    #[serde(default)]
    pub(super) claim: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) expression: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExtraSource {
    pub(super) key: Spanned<String>,
    #[serde(default)]
    pub(super) value_expression: Option<Spanned<String>>,
}
