//! The keys, as a closed list.

/// What stands before the `:` of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// User name, e-mail address or subject.
    User,
    /// The user who was acted as (`--as`).
    As,
    /// A workload that acted for the person: `NAMESPACE/NAME` of a ServiceAccount, or its user name.
    Via,
    /// Kubernetes verb, or `exec`, `log`, … .
    Verb,
    /// Resource, also `pods/exec`, `deployments.apps`.
    Resource,
    /// API group; `core` for the one without a name.
    Group,
    /// Namespace.
    Namespace,
    /// Name of the object.
    Name,
    /// Cluster.
    Cluster,
    /// Published service.
    Service,
    /// Host under which a service was asked for; `*.example.com` finds all below.
    Host,
    /// HTTP method.
    Method,
    /// Path, as it was received.
    Path,
    /// `true`, `false`: calls of services for which nobody had signed in, and a rule lets the public, or the other ones.
    Public,
    /// HTTP status: `403`, `4xx`, `>=400`.
    Status,
    /// How it ended.
    Outcome,
    /// Kind of record.
    Kind,
    /// Id of the request.
    Id,
    /// Client address, also a network (`10.0.0.0/8`).
    Ip,
    /// Code of the reason of a refusal.
    Reason,
    /// User agent.
    Agent,
    /// Sign-in, or run of kubectl.
    Session,
    /// `gateway`, `ingested`, `verdict`, `sample`.
    Source,
    /// `true`, `false`: sessions of which there is a recording, or none.
    Recorded,
    /// Not before.
    Since,
    /// Before.
    Until,
}

impl Key {
    /// Every key, in the order in which help lists them.
    pub const ALL: [Self; 26] = [
        Self::User,
        Self::As,
        Self::Via,
        Self::Verb,
        Self::Resource,
        Self::Group,
        Self::Namespace,
        Self::Name,
        Self::Cluster,
        Self::Service,
        Self::Host,
        Self::Method,
        Self::Path,
        Self::Public,
        Self::Status,
        Self::Outcome,
        Self::Kind,
        Self::Id,
        Self::Ip,
        Self::Reason,
        Self::Agent,
        Self::Session,
        Self::Source,
        Self::Recorded,
        Self::Since,
        Self::Until,
    ];

    /// As it is typed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::As => "as",
            Self::Via => "via",
            Self::Verb => "verb",
            Self::Resource => "resource",
            Self::Group => "group",
            Self::Namespace => "ns",
            Self::Name => "name",
            Self::Cluster => "cluster",
            Self::Service => "service",
            Self::Host => "host",
            Self::Method => "method",
            Self::Path => "path",
            Self::Public => "public",
            Self::Status => "status",
            Self::Outcome => "outcome",
            Self::Kind => "kind",
            Self::Id => "id",
            Self::Ip => "ip",
            Self::Reason => "reason",
            Self::Agent => "agent",
            Self::Session => "session",
            Self::Source => "source",
            Self::Recorded => "recorded",
            Self::Since => "since",
            Self::Until => "until",
        }
    }

    pub(super) fn find(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let other_name = match name.as_str() {
            "namespace" => Some(Self::Namespace),
            "res" => Some(Self::Resource),
            "code" => Some(Self::Status),
            "who" => Some(Self::User),
            "svc" => Some(Self::Service),
            _ => None,
        };
        other_name.or_else(|| Self::ALL.into_iter().find(|key| key.name() == name))
    }
}
