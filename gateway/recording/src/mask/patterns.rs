//! What is known of the shape of secrets: one list.
//!
//! A secret is recognised by what introduces it, and from there its bytes are masked as they come, until a byte that cannot belong
//! to it. Nothing is held back to see how it goes on, so the record keeps its times, and where the stream is cut makes no
//! difference. The price is that what only begins like a secret is masked too (`eyJ` is how any JSON in base64 begins).
//!
//! Chosen: what people really show on a terminal, put into environment variables or read out of Kubernetes Secrets, and whose
//! introduction is at least three fixed bytes. Not found, and said so in the format's page: secrets without any introduction
//! (a bare 40-character AWS secret key, a password in a table), YAML block scalars, what a full-screen program draws
//! in pieces, what is compressed or encoded in another way than base64, passwords that were typed into a program (on a
//! terminal input is not kept at all).
//!
//! Invariant, tested: no introduction stands inside another one, so the one that ends first is the only one, however the
//! stream is cut. At most 64, so that the vectorised search is used.

/// A kind of secret, as notes in a recording name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Secret {
    /// A private key in PEM (RFC 7468), also in base64 as Kubernetes Secrets have it.
    PrivateKey,
    /// A JSON Web Token, or any other JSON in base64.
    Jwt,
    /// The id of an AWS access key.
    AwsKey,
    /// A GitHub token.
    GithubToken,
    /// A GitLab token.
    GitlabToken,
    /// A Slack token or web hook.
    SlackToken,
    /// A key of another provider with a fixed beginning.
    ProviderKey,
    /// The value of something called password, secret, token or key.
    Assignment,
    /// An `Authorization` header or a bearer token.
    Authorization,
    /// The password in a URL.
    UrlPassword,
}

impl Secret {
    /// All of them, in the order of their codes from 1.
    pub const ALL: [Self; 10] = [
        Self::PrivateKey,
        Self::Jwt,
        Self::AwsKey,
        Self::GithubToken,
        Self::GitlabToken,
        Self::SlackToken,
        Self::ProviderKey,
        Self::Assignment,
        Self::Authorization,
        Self::UrlPassword,
    ];

    /// Its number in a recording.
    #[must_use]
    pub fn code(self) -> u8 {
        let place = Self::ALL.iter().position(|secret| *secret == self);
        place.map_or(0, |place| u8::try_from(place.saturating_add(1)).unwrap_or(0))
    }

    /// The secret of a number in a recording.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PrivateKey => "private key",
            Self::Jwt => "JSON web token",
            Self::AwsKey => "AWS access key",
            Self::GithubToken => "GitHub token",
            Self::GitlabToken => "GitLab token",
            Self::SlackToken => "Slack token",
            Self::ProviderKey => "provider key",
            Self::Assignment => "assigned secret",
            Self::Authorization => "authorization header",
            Self::UrlPassword => "password in a URL",
        }
    }
}

/// What follows an introduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The secret itself, as long as the bytes are of base64, base64url or a token.
    Token,
    /// The same, if the introduction stands at the beginning of a word.
    WordToken,
    /// `=` or `:`, then a value.
    Value,
    /// `=` or `:`, then a value up to the end of the line.
    Line,
    /// The lines of a PEM block, if it begins here and does not end.
    Pem,
    /// A user and a password, or not.
    Url,
}

/// One introduction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Introduction {
    pub(super) text: &'static str,
    pub(super) secret: Secret,
    pub(super) then: Then,
}

const fn is(text: &'static str, secret: Secret, then: Then) -> Introduction {
    Introduction { text, secret, then }
}

/// The list. Words are cut in front so that both `Password` and `password` begin alike behind the cut.
pub(super) const INTRODUCTIONS: &[Introduction] = &[
    is("PRIVATE KEY-----", Secret::PrivateKey, Then::Pem),
    is("PRIVATE KEY BLOCK-----", Secret::PrivateKey, Then::Pem),
    // `-----BEGIN … PRIVATE KEY-----` in base64, as far as it does not depend on what follows.
    is("LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t", Secret::PrivateKey, Then::Token),
    is("LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVkt", Secret::PrivateKey, Then::Token),
    is("LS0tLS1CRUdJTiBFQyBQUklWQVRFIEtFWS0t", Secret::PrivateKey, Then::Token),
    is("LS0tLS1CRUdJTiBPUEVOU1NIIFBSSVZBVEUg", Secret::PrivateKey, Then::Token),
    is("LS0tLS1CRUdJTiBFTkNSWVBURUQgUFJJVkFU", Secret::PrivateKey, Then::Token),
    is("eyJ", Secret::Jwt, Then::WordToken),
    is("AKIA", Secret::AwsKey, Then::WordToken),
    is("ASIA", Secret::AwsKey, Then::WordToken),
    is("ghp_", Secret::GithubToken, Then::Token),
    is("gho_", Secret::GithubToken, Then::Token),
    is("ghu_", Secret::GithubToken, Then::Token),
    is("ghs_", Secret::GithubToken, Then::Token),
    is("ghr_", Secret::GithubToken, Then::Token),
    is("github_pat_", Secret::GithubToken, Then::Token),
    is("glpat-", Secret::GitlabToken, Then::Token),
    is("gldt-", Secret::GitlabToken, Then::Token),
    is("glrt-", Secret::GitlabToken, Then::Token),
    is("xoxb-", Secret::SlackToken, Then::Token),
    is("xoxp-", Secret::SlackToken, Then::Token),
    is("xoxa-", Secret::SlackToken, Then::Token),
    is("xoxr-", Secret::SlackToken, Then::Token),
    is("xoxs-", Secret::SlackToken, Then::Token),
    is("xapp-", Secret::SlackToken, Then::Token),
    is("hooks.slack.com/services/", Secret::SlackToken, Then::Token),
    is("AIza", Secret::ProviderKey, Then::WordToken),  // Google
    is("ya29.", Secret::ProviderKey, Then::WordToken), // Google OAuth
    is("hvs.", Secret::ProviderKey, Then::WordToken),  // HashiCorp Vault
    is("npm_", Secret::ProviderKey, Then::WordToken),
    is("dckr_pat_", Secret::ProviderKey, Then::Token),
    is("sk_live_", Secret::ProviderKey, Then::Token), // Stripe
    is("rk_live_", Secret::ProviderKey, Then::Token),
    is("sk-ant-", Secret::ProviderKey, Then::WordToken),
    is("sk-proj-", Secret::ProviderKey, Then::WordToken),
    is("assword", Secret::Assignment, Then::Value),
    is("ASSWORD", Secret::Assignment, Then::Value),
    is("asswd", Secret::Assignment, Then::Value),
    is("ASSWD", Secret::Assignment, Then::Value),
    is("assphrase", Secret::Assignment, Then::Value),
    is("ASSPHRASE", Secret::Assignment, Then::Value),
    is("secret", Secret::Assignment, Then::Value),
    is("Secret", Secret::Assignment, Then::Value),
    is("SECRET", Secret::Assignment, Then::Value),
    is("token", Secret::Assignment, Then::Value),
    is("Token", Secret::Assignment, Then::Value),
    is("TOKEN", Secret::Assignment, Then::Value),
    is("pi_key", Secret::Assignment, Then::Value),
    is("pi-key", Secret::Assignment, Then::Value),
    is("pikey", Secret::Assignment, Then::Value),
    is("piKey", Secret::Assignment, Then::Value),
    is("PI_KEY", Secret::Assignment, Then::Value),
    is("rivate_key", Secret::Assignment, Then::Value),
    is("rivateKey", Secret::Assignment, Then::Value),
    is("RIVATE_KEY", Secret::Assignment, Then::Value),
    is("ccountKey", Secret::Assignment, Then::Value), // Azure
    is("uthorization", Secret::Authorization, Then::Line),
    is("UTHORIZATION", Secret::Authorization, Then::Line),
    is("earer ", Secret::Authorization, Then::Token),
    is("://", Secret::UrlPassword, Then::Url),
];

/// No introduction is longer.
pub(super) const LONGEST: usize = 36;
