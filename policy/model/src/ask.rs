//! Questions that one station asks of the outside world, and the closed answers to them.
//!
//! They travel over bounded channels that the composition root joins, so that the request path, the feeds and the
//! console never name one another. Every answer has a member for "could not find out": the asker fails closed on it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::cluster::ClusterId;
use crate::service::HostName;
use crate::subject::Subject;
use crate::time::Timestamp;

/// May this subject do this, in the cluster's own view? (`authorization.k8s.io/v1` SubjectAccessReview)
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccessQuestion {
    /// Which cluster is asked.
    pub cluster: ClusterId,
    /// `spec.user`.
    pub user: Arc<str>,
    /// `spec.uid`.
    pub uid: Option<Arc<str>>,
    /// `spec.groups`.
    pub groups: Arc<[Arc<str>]>,
    /// `spec.extra`.
    pub extra: Arc<BTreeMap<String, Vec<String>>>,
    /// What is asked about.
    pub what: AccessAttributes,
}

/// `spec.resourceAttributes` or `spec.nonResourceAttributes`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AccessAttributes {
    /// A resource.
    Resource {
        /// Verb.
        verb: Arc<str>,
        /// API group; empty for core.
        group: Arc<str>,
        /// API version.
        version: Arc<str>,
        /// Resource.
        resource: Arc<str>,
        /// Subresource; empty for none.
        subresource: Arc<str>,
        /// Namespace; empty for cluster-scoped or all.
        namespace: Arc<str>,
        /// Name; empty for all.
        name: Arc<str>,
    },
    /// A path.
    NonResource {
        /// Verb: the lower-case HTTP method.
        verb: Arc<str>,
        /// Path.
        path: Arc<str>,
    },
}

/// The cluster's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessAnswer {
    /// It says yes.
    Yes {
        /// Its reason, if given.
        reason: Option<String>,
    },
    /// It says no; `denied: true` wins over `allowed: true`.
    No {
        /// Its reason, if given.
        reason: Option<String>,
    },
    /// It could not be asked, or did not answer in time: treat as no.
    Unknown {
        /// Why.
        why: String,
    },
}

/// Is this token a ServiceAccount's of this cluster? (`authentication.k8s.io/v1` TokenReview)
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenQuestion {
    /// Which cluster is asked.
    pub cluster: ClusterId,
    /// The token; never logged.
    pub token: Arc<str>,
    /// `spec.audiences`: ours.
    pub audiences: Vec<String>,
}

impl fmt::Debug for TokenQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenQuestion")
            .field("cluster", &self.cluster)
            .field("audiences", &self.audiences)
            .finish_non_exhaustive()
    }
}

/// The cluster's answer about a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenAnswer {
    /// `authenticated: true` with one of our audiences.
    Authenticated {
        /// `status.user.username`.
        username: String,
        /// `status.user.uid`.
        uid: Option<String>,
        /// `status.user.groups`.
        groups: Vec<String>,
        /// `status.user.extra`.
        extra: BTreeMap<String, Vec<String>>,
    },
    /// Anything but an explicit yes with a matching audience.
    Refused {
        /// The cluster's words.
        why: String,
    },
    /// It could not be asked: treat as refused.
    Unknown {
        /// Why.
        why: String,
    },
}

/// On which node does this pod run?
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodQuestion {
    /// Which cluster is asked.
    pub cluster: ClusterId,
    /// The pod's namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// What the cluster says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodAnswer {
    /// It runs on this node (`spec.nodeName`).
    Node(Arc<str>),
    /// It could not be found out: the observer may not read pods, the pod is gone or waits for a node, the cluster is silent.
    Unknown {
        /// Why.
        why: String,
    },
}

/// Does this session still stand?
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionQuestion {
    /// Its public id (`sid` of the gateway token).
    pub session: Arc<str>,
    /// How many ends of access the asker had heard of. Equal questions share an answer; one of after an end must not get that
    /// of before it.
    pub after: u64,
}

/// What is known of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionAnswer {
    /// It stands.
    Live {
        /// It ends then at the latest.
        ends_at: Timestamp,
        /// The reason its person stated, and until when it counts.
        stated_reason: Option<(String, Timestamp)>,
        /// Who its person is by the provider's newest word; none where nobody keeps that, and the token's word counts.
        subject: Option<Box<Subject>>,
    },
    /// It has ended.
    Ended {
        /// Why: `signed out`, `revoked`, `idle`, …
        why: String,
    },
    /// It could not be looked up: treat as ended.
    Unknown {
        /// Why.
        why: String,
    },
}

/// Whose sign-in is behind the cookie that a browser sent to the host of a service?
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CookieQuestion {
    /// The host: a cookie counts on the one that it was given out for.
    pub host: HostName,
    /// Its value; never logged.
    pub value: Arc<str>,
    /// As in [`SessionQuestion::after`].
    pub after: u64,
}

impl fmt::Debug for CookieQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieQuestion")
            .field("host", &self.host)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

/// What is known of a cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CookieAnswer {
    /// It is of a sign-in that stands.
    Live(Box<SignedIn>),
    /// It is none that was given out for this host.
    Foreign,
    /// Its sign-in has ended.
    Ended {
        /// Why: `signed out`, `revoked`, `idle`, …
        why: String,
    },
    /// It could not be looked up: treat as ended.
    Unknown {
        /// Why.
        why: String,
    },
}

/// A sign-in of a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// Its public id.
    pub session: Arc<str>,
    /// Who, by the provider's newest word.
    pub subject: Subject,
    /// It ends then at the latest.
    pub ends_at: Timestamp,
    /// When the person authenticated, where the provider says so.
    pub auth_time: Option<Timestamp>,
    /// In which authentication context.
    pub acr: Option<Arc<str>>,
    /// The reason its person stated, and until when it counts.
    pub stated_reason: Option<(String, Timestamp)>,
}

/// A token names a key of this issuer that is not known: is there a newer key set?
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyQuestion {
    /// The issuer.
    pub issuer: Arc<str>,
    /// The `kid` of the token.
    pub kid: Arc<str>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAnswer {
    /// The key set was fetched; look again.
    Fetched,
    /// It was asked for lately, or is not there: refuse.
    Unknown,
}
