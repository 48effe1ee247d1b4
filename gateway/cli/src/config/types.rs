//! The configuration as it is written. The published JSON Schema and the reference page are generated from these types,
//! so that what is documented is what is read. What the words mean is checked in `check`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::certificates::{ClientCertificates, Workloads};
use super::forward_auth::ForwardAuth;
use super::limits::Limits;
use super::value::{Secret, Size, Span};

/// The one configuration file of a gateway.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The version of this format.
    pub api_version: ApiVersion,
    /// How people reach the gateway host: sign-in, tokens, console. Cookies, redirects and links derive from it.
    pub url: String,
    /// Folder for state, ledger and keys.
    pub data_dir: String,
    /// Where connections are accepted.
    pub listeners: Vec<Listener>,
    /// Ingresses of your own that ask the gateway about each call (forward-auth), at a listener that serves `verdict`.
    #[serde(default)]
    pub forward_auth: ForwardAuth,
    /// The listener of operators: health and metrics. Never reachable through another listener.
    #[serde(default)]
    pub admin: Admin,
    /// Who may sign in, and how.
    pub identity: Identity,
    /// The Kubernetes clusters behind the gateway.
    pub clusters: Vec<Cluster>,
    /// Rules of our own besides Kubernetes RBAC.
    #[serde(default)]
    pub policy: Policy,
    /// The audit ledger.
    #[serde(default)]
    pub ledger: Ledger,
    /// How much of which call stands in it.
    #[serde(default)]
    pub audit: Audit,
    /// Recordings of sessions inside pods.
    #[serde(default)]
    pub recording: Recording,
    /// What one subject, all strangers together, and all of the public together may use.
    #[serde(default)]
    pub limits: Limits,
    /// Structured logs; they are no audit records.
    #[serde(default)]
    pub log: Log,
    /// Traces for operators; they are no audit records.
    #[serde(default)]
    pub telemetry: Telemetry,
}

/// Versions of the configuration format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ApiVersion {
    /// Additions only inside v1.
    #[serde(rename = "gatescribe.dev/v1")]
    V1,
}

/// One address that accepts connections.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    /// A name for records and metrics.
    pub name: String,
    /// IP address and port, such as `0.0.0.0:8443`.
    pub address: String,
    /// What is served here.
    pub serves: Vec<Serves>,
    /// Certificate and key. Without it the listener speaks plain HTTP, which is accepted on loopback addresses only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Accept client certificates as sign-in of people. They are asked for, never demanded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<ClientCertificates>,
    /// Accept X.509-SVIDs as credentials of workloads, of these SPIFFE trust domains. They are asked for, never demanded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<Workloads>,
}

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Serves {
    /// The gateway host: sign-in, tokens, our API.
    Gateway,
    /// Kubernetes clusters, by host name `<cluster>.<host>` or by path `/clusters/<name>`.
    Kubernetes,
    /// Published services (`Service` documents of the rule files), each on hosts of its own. Browsers look for them at the port of the gateway's `url`.
    Services,
    /// Answers to ingresses that forward by themselves (`forwardAuth`), and nothing else.
    Verdict,
    /// `add-checkpoint` (C2SP tlog-witness) for the logs of `ledger.witnessFor`, to whoever asks, and nothing else.
    Witness,
}

/// Files of a server certificate. They are watched; a broken new pair keeps the old one serving.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the certificate chain, leaf first.
    pub cert_file: String,
    /// PEM file of the private key.
    pub key_file: String,
    /// PEM file of the authority that issued the certificate, when clients do not know it anyway; `login` hands it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
}

/// Health and metrics for operators.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Admin {
    /// IP address and port for `/livez`, `/readyz` and `/metrics`.
    #[serde(default = "admin_address")]
    pub address: String,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            address: admin_address(),
        }
    }
}

fn admin_address() -> String {
    "127.0.0.1:9464".to_owned()
}

/// Who may sign in, and how.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    /// How long a sign-in lasts.
    #[serde(default)]
    pub session: Session,
    /// OpenID providers at which people sign in. At least one, unless `authenticationConfigurationFile` names issuers.
    #[serde(default)]
    pub providers: Vec<Provider>,
    /// A Kubernetes `AuthenticationConfiguration` (`apiserver.config.k8s.io/v1`): issuers whose tokens are accepted as
    /// they are, for kubelogin and CI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication_configuration_file: Option<String>,
    /// URLs of issuers that may give names which another issuer gives, too: without prefixes that keep the two apart,
    /// `alice` of the one is `alice` of the other, with her roles. Refused unless each such issuer is listed here. The
    /// client certificates of a listener are an issuer, too: `certificates:NAME` of the listener.
    #[serde(default)]
    pub danger_shared_names: Vec<String>,
    /// Members of these groups see everybody's records, play and watch everybody's recorded sessions, end sessions and lock people
    /// out; all others see, play and end their own.
    #[serde(default)]
    pub audit_groups: Vec<String>,
    /// Members of other groups see a part of the records besides their own: `docs/how-to/give-audit-roles.md`.
    #[serde(default)]
    pub audit_roles: Vec<AuditRole>,
    /// Accept ServiceAccount tokens that were issued for the gateway's audience.
    #[serde(default)]
    pub service_accounts: ServiceAccounts,
    /// Files with the keys of the gateway's own tokens (P-256 in PKCS#8, PEM or DER, readable by their owner alone): the first
    /// signs, all are accepted. Empty: one that is made in `dataDir` at the first start. Read again when the configuration is;
    /// `docs/how-to/change-the-token-key.md` says in which order to change them.
    #[serde(default)]
    pub token_key_files: Vec<String>,
}

/// A part of the records that members of some groups may read.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditRole {
    /// Its name: `gatescribe audit can` and the record of each reading say it. Letters, digits, dashes, dots and underscores.
    pub name: String,
    /// Members of one of these groups have it.
    pub groups: Vec<String>,
    /// Calls to these of `clusters` alone. Left out: to all, and what goes to no cluster, such as sign-ins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<Vec<String>>,
    /// Calls in these namespaces alone; a name, or the beginning of names with a `*` behind it. Left out: in all, and what lies in
    /// none, such as nodes and lists over all namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    /// What is not shown. An act of which something is hidden is shown without its records, and no search finds it by what is hidden.
    #[serde(default)]
    pub hide: Vec<AuditHidden>,
    /// What may be done besides reading. Not together with `hide`: each of these shows what that hides.
    #[serde(default)]
    pub may: Vec<AuditMay>,
}

/// What an audit role may hide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AuditHidden {
    /// Names of people, for which an opaque id stands that stays the same; and all free text, which may name them.
    People,
    /// Addresses of clients.
    Addresses,
    /// `User-Agent`.
    Agents,
    /// Free text: stated reasons, messages of the cluster and the gateway.
    Texts,
}

/// What an audit role may allow besides reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AuditMay {
    /// Arguments of commands, values of queries and what else stands sealed beside a record.
    Details,
    /// Receipts: each holds the whole record.
    Receipts,
    /// Recordings: to play, export and watch them.
    Recordings,
}

/// How long a sign-in lasts.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Session {
    /// A session that nobody uses ends after this.
    #[serde(default = "session_idle")]
    pub idle: Span,
    /// A session ends after this, used or not.
    #[serde(default = "session_max")]
    pub max: Span,
    /// Lifetime of the token that kubectl holds; at most 10 minutes.
    #[serde(default = "token_lifetime")]
    pub token: Span,
    /// The provider is asked again about a person when its last word is older than this, at a renewal and while something is open:
    /// whom it has taken a group from loses it within this time and a minute, or when it is their turn: about four people the provider is
    /// asked at once. At least a second.
    #[serde(default = "session_recheck")]
    pub recheck: Span,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            idle: session_idle(),
            max: session_max(),
            token: token_lifetime(),
            recheck: session_recheck(),
        }
    }
}

fn session_idle() -> Span {
    Span::hours(8)
}
fn session_max() -> Span {
    Span::hours(24)
}
fn token_lifetime() -> Span {
    Span::minutes(10)
}
fn session_recheck() -> Span {
    Span::minutes(5)
}

/// An OpenID provider at which people sign in.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Provider {
    /// A name for pages, records and `whoami`.
    pub name: String,
    /// The issuer URL, byte for byte as in its tokens. `https`, except on loopback.
    pub issuer: String,
    /// The client id under which the gateway is registered there.
    pub client_id: String,
    /// The client secret: `${env:NAME}` or `${file:/path}`. Leave out for a public client with PKCE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Secret>,
    /// PEM file of authorities to trust for this issuer besides the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Scopes to ask for besides `openid`.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// From claims to Kubernetes names.
    #[serde(default)]
    pub claims: Claims,
    /// Audiences besides `clientId` whose ID tokens are accepted as they are.
    #[serde(default)]
    pub accept_audiences: Vec<String>,
}

fn scopes() -> Vec<String> {
    ["profile", "email", "groups", "offline_access"]
        .map(str::to_owned)
        .to_vec()
}

/// From claims to Kubernetes names.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claims {
    /// Claim of the user name.
    #[serde(default = "user_claim")]
    pub user: String,
    /// Put in front of each user name.
    #[serde(default)]
    pub user_prefix: String,
    /// Claim of the groups.
    #[serde(default = "groups_claim")]
    pub groups: String,
    /// Put in front of each group.
    #[serde(default)]
    pub group_prefix: String,
    /// Accept an e-mail address as user name only when the provider says that it has verified it.
    #[serde(default = "yes")]
    pub require_verified_email: bool,
}

impl Default for Claims {
    fn default() -> Self {
        Self {
            user: user_claim(),
            user_prefix: String::new(),
            groups: groups_claim(),
            group_prefix: String::new(),
            require_verified_email: true,
        }
    }
}

fn user_claim() -> String {
    "email".to_owned()
}
fn groups_claim() -> String {
    "groups".to_owned()
}
const fn yes() -> bool {
    true
}

/// ServiceAccount tokens as credentials.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceAccounts {
    /// Whether they are accepted.
    #[serde(default)]
    pub accept: bool,
    /// The audience they must be issued for; the gateway's `url` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
}

/// A Kubernetes cluster behind the gateway.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cluster {
    /// Its name: a DNS label, part of its URL and of every record.
    pub name: String,
    /// The API server's URL; several addresses are tried in turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// PEM file of the authorities of the API server's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// The name to expect in that certificate when it is not the URL's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_server_name: Option<String>,
    /// The credential that impersonates people and can do nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impersonator: Option<Credential>,
    /// The credential that watches what decisions need, and asks reviews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observer: Option<Credential>,
    /// Take server and authorities from the pod's own ServiceAccount.
    #[serde(default)]
    pub in_cluster: bool,
    /// Who issues this cluster's ServiceAccount tokens (`--service-account-issuer`, each of them), where the gateway cannot
    /// learn it from the observer's token and the API server's `/.well-known/openid-configuration`. None of them may be an
    /// issuer of people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_account_issuers: Vec<String>,
    /// What counts when RBAC as the gateway knows it is silent.
    #[serde(default)]
    pub authorization: Authorization,
}

/// A credential in files; they are read again at least every minute.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credential {
    /// File of a bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<String>,
    /// PEM file of a client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<String>,
    /// PEM file of its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
}

/// What counts when RBAC as the gateway knows it is silent. A forbid is never asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Authorization {
    /// The cluster is asked once (SubjectAccessReview) before the call is refused.
    #[default]
    Confirm,
    /// The gateway's own verdict alone.
    Enforce,
    /// Nothing is refused by the gateway for want of a role; the cluster decides. Forbid rules still forbid.
    Observe,
}

/// Rules of our own besides Kubernetes RBAC.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Files or folders of `AccessRule` documents.
    #[serde(default)]
    pub rules: Vec<String>,
}

/// The audit ledger.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ledger {
    /// Its folder; `<dataDir>/ledger` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// Size of one preallocated file.
    #[serde(default = "segment_size")]
    pub segment_size: Size,
    /// Bytes of records that may wait for the disk; more are refused.
    #[serde(default = "queue_size")]
    pub queue_size: Size,
    /// Bytes per second at which a running gateway reads its ledger again, to see that each record is still the one that was
    /// signed. `0KiB`: it does not.
    #[serde(default = "check_rate")]
    pub check_rate: Size,
    /// After so long a new key begins to seal what stands beside somebody's records: 1 hour to 366 days. What the old one sealed stays
    /// readable, and is erased with it. Recordings have a key each.
    #[serde(default = "part_key_age")]
    pub part_key_age: Span,
    /// How records name people: in the clear, or sealed beside the record under a key of that person, which an erasure of all that is
    /// sealed of them destroys. Sealed only from the first record on; a ledger never changes it.
    #[serde(default)]
    pub names: Names,
    /// Who cosigns the checkpoints (C2SP tlog-witness), so that nobody can tell two stories with the ledger's key. Better three
    /// of other people and places than one.
    #[serde(default)]
    pub witnesses: Vec<Witness>,
    /// So many of them have to cosign a checkpoint before it counts as witnessed; all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub quorum: Option<u32>,
    /// Public keys of logs, `NAME+ID+KEY`, that this gateway is a witness of, such as those of its replicas. A log may have several, the newest last. It
    /// cosigns with a key of its own, on a listener that serves `witness`.
    #[serde(default)]
    pub witness_for: Vec<String>,
    /// What becomes of calls while the ledger's disk is full or fails. Left out, each is refused. Whatever else stands here, calls
    /// go on that no record names; they are counted. `docs/how-to/when-the-ledger-cannot-write.md` says what is lost with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub danger_fail_modes: Option<FailModes>,
}

/// How records name people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Names {
    /// As they are called.
    #[default]
    Clear,
    /// By a random id; the name is sealed beside the record.
    Sealed,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            dir: None,
            segment_size: segment_size(),
            queue_size: queue_size(),
            check_rate: check_rate(),
            part_key_age: part_key_age(),
            names: Names::Clear,
            witnesses: Vec::new(),
            quorum: None,
            witness_for: Vec::new(),
            danger_fail_modes: None,
        }
    }
}

/// What becomes of calls while the ledger's disk is full or fails. What enters a pod, node or service, what has to be recorded as a
/// session, what may hand out a credential (everything about `secrets` too), and sign-ins are refused whatever stands here.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FailModes {
    /// Of pure reads: get, list, watch, logs.
    #[serde(default)]
    pub reads: FailMode,
    /// Of calls that may change something.
    #[serde(default)]
    pub effects: FailMode,
    /// The bound of each class that is `bounded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounded: Option<Bound>,
}

/// What becomes of calls of one class while no record can be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FailMode {
    /// They are refused.
    #[default]
    Closed,
    /// So many go on without a record, for so long; each is counted on the disk first. Then they are refused.
    Bounded,
    /// They go on without a record and without a limit. They are counted as well as that can be done.
    Open,
}

/// How many calls go on without a record, and for how long.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bound {
    /// So many calls of each bounded class; of one subject, a quarter of them.
    #[serde(default = "bound_calls")]
    #[schemars(range(min = 1, max = 100_000))]
    pub calls: u32,
    /// For so long after the first of them. The bound is whole again when the ledger has taken records for as long, and for an hour
    /// at least, without a break. At most a day.
    #[serde(default = "bound_for")]
    pub r#for: Span,
}

impl Default for Bound {
    fn default() -> Self {
        Self {
            calls: bound_calls(),
            r#for: bound_for(),
        }
    }
}

const fn bound_calls() -> u32 {
    100
}
const fn bound_for() -> Span {
    Span::minutes(10)
}

/// Somebody who remembers this ledger's newest checkpoint and cosigns the next one only if it goes on from there: a `gatescribe
/// ledger witness`, or any other of C2SP tlog-witness.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Witness {
    /// A name for logs and metrics.
    pub name: String,
    /// Its submission prefix, below which `add-checkpoint` is, such as `https://witness.example.com`. `https`, except on
    /// loopback.
    pub url: String,
    /// Its public key, `NAME+ID+KEY` of type 0x04, as it says at its start. Cosignatures by another are passed over.
    pub public_key: String,
    /// PEM file of authorities to trust for it instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
}

/// How much of which call stands in the ledger. A record that says who, what, when, from where, why it was allowed and how it
/// ended remains of every call.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Audit {
    /// A Kubernetes audit `Policy` (`audit.k8s.io/v1`), evaluated on the person who calls. Without it, every call has level
    /// Metadata. The file is watched; a broken new one keeps the old one in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_file: Option<String>,
}

/// Recordings of exec, attach, port-forward and what else enters a pod. Each is one encrypted file.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recording {
    /// Their folder; `<dataDir>/recordings` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// Which sessions are recorded. One that has to be and cannot be does not begin.
    #[serde(default)]
    pub sessions: RecordedSessions,
    /// Where the disk has less free than this, no session that has to be recorded begins, and those that go on end: the ledger
    /// may need the room.
    #[serde(default = "keep_free")]
    pub keep_free: Size,
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            dir: None,
            sessions: RecordedSessions::default(),
            keep_free: keep_free(),
        }
    }
}

const fn keep_free() -> Size {
    Size::mebibytes(512)
}

/// Which sessions are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RecordedSessions {
    /// Those that an access rule reaches with `obligations: {record: true}`, whoever allows them.
    #[default]
    ByRule,
    /// Every one: whatever asks to switch protocols, of other APIs too (a console of a virtual machine), but watches and followed
    /// logs.
    All,
}

const fn segment_size() -> Size {
    Size::mebibytes(64)
}
const fn queue_size() -> Size {
    Size::mebibytes(64)
}
const fn part_key_age() -> Span {
    Span::hours(90 * 24)
}
const fn check_rate() -> Size {
    Size::mebibytes(4)
}

/// Structured logs.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Log {
    /// The least severe level that is written.
    #[serde(default)]
    pub level: Level,
    /// The form of a line.
    #[serde(default)]
    pub format: Format,
}

/// Levels of logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// A human must act.
    Error,
    /// Degraded but handled.
    Warn,
    /// Rare events of life.
    #[default]
    Info,
    /// Per request.
    Debug,
}

/// Traces for operators. Off unless a collector is named.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Telemetry {
    /// A collector of OpenTelemetry traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp: Option<Otlp>,
}

/// A collector that speaks OTLP over HTTP in protobuf. Only what stands here counts; no `OTEL_…` variable is read.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Otlp {
    /// Where traces are posted, such as `https://otel.example.com:4318/v1/traces`. `https`, except on loopback.
    pub endpoint: String,
    /// PEM file of authorities to trust for it instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Headers by which the collector knows the gateway.
    #[serde(default)]
    pub headers: Vec<OtlpHeader>,
    /// One of so many requests is traced; 1 traces all. Nothing that a client sends changes it.
    #[serde(default = "sample_one_in")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub sample_one_in: u32,
}

const fn sample_one_in() -> u32 {
    1
}

/// One header.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OtlpHeader {
    /// Its name.
    pub name: String,
    /// Its value: `${env:NAME}` or `${file:/path}`. Read at the start.
    pub value: Secret,
}

/// Forms of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Json,
    /// For a person's eyes.
    Text,
}
