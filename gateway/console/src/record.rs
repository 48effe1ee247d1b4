//! What happened to whom, for the ledger. The console reports; the composition root writes it down.
//!
//! Invariant: a sign-in that could not be written down did not happen (promise 4): the session is ended again before
//! anybody holds anything of it.

use std::net::IpAddr;

use futures::future::BoxFuture;
use model::subject::SubjectId;
use model::time::Timestamp;
use oidc::gateway::assertion::{Actor, Chain};
use state::{ClientKind, Identity, Session, SessionId};

/// The one who calls, as the listener saw it. The composition root puts it into the request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The socket's peer, or the right-most untrusted hop behind a trusted proxy.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// Which listener.
    pub listener: String,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// A person signed in; a session began.
    SignedIn,
    /// A sign-in was refused; nothing began.
    SignInRefused,
    /// The provider vouched again, and the person is mapped to other groups or another name than before.
    IdentityChanged,
    /// The person signed out.
    SignedOut,
    /// The provider said that the person signed out.
    SignedOutByProvider,
    /// The provider no longer vouches for the person.
    ProviderRefused,
    /// An old handle came back; the session ended.
    HandleReused,
    /// A one-time code came back; the session ended.
    CodeReused,
    /// A person said yes to a device.
    DeviceApproved,
    /// A person said no to a device.
    DeviceDenied,
    /// A person stated why they do what comes next.
    ReasonStated,
    /// A person took that back.
    ReasonTakenBack,
    /// A person ended an exec, attach or port-forward that went on.
    SessionCut,
    /// A person locked somebody out.
    UserLocked,
    /// A person lifted a lock.
    UserUnlocked,
    /// A person had new keys made for the parts of records.
    PartKeysRotated,
    /// A workload that acts for the person was given an assertion for another service.
    AssertionExchanged,
    /// A workload that acts for the person was given none.
    ExchangeRefused,
    /// A request with a credential that counts no longer, or never did.
    CredentialRefused,
    /// A logout token that is none.
    LogoutTokenRefused,
    /// A request for another host's name, or for a path where nothing is.
    RequestRefused,
}

impl What {
    /// The stable name in the record (`person.what`).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignedIn => "signedIn",
            Self::SignInRefused => "signInRefused",
            Self::IdentityChanged => "identityChanged",
            Self::SignedOut => "signedOut",
            Self::SignedOutByProvider => "signedOutByProvider",
            Self::ProviderRefused => "providerRefused",
            Self::HandleReused => "handleReused",
            Self::CodeReused => "codeReused",
            Self::DeviceApproved => "deviceApproved",
            Self::DeviceDenied => "deviceDenied",
            Self::ReasonStated => "reasonStated",
            Self::ReasonTakenBack => "reasonTakenBack",
            Self::SessionCut => "sessionCut",
            Self::UserLocked => "userLocked",
            Self::UserUnlocked => "userUnlocked",
            Self::PartKeysRotated => "partKeysRotated",
            Self::AssertionExchanged => "assertionExchanged",
            Self::ExchangeRefused => "exchangeRefused",
            Self::CredentialRefused => "credentialRefused",
            Self::LogoutTokenRefused => "logoutTokenRefused",
            Self::RequestRefused => "requestRefused",
        }
    }
}

/// Who, when it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Opaque and stable.
    pub subject_id: SubjectId,
    /// The mapped person.
    pub identity: Identity,
    /// When the person authenticated at the provider, Unix seconds.
    pub auth_time: Option<i64>,
    /// How.
    pub acr: Option<String>,
}

impl Who {
    pub(crate) fn of(session: &Session) -> Self {
        Self {
            subject_id: session.subject_id.clone(),
            identity: session.identity.clone(),
            auth_time: session.auth_time,
            acr: session.acr.clone(),
        }
    }
}

/// One event of the record kind `session`.
#[derive(Clone, Debug)]
pub struct SessionEvent {
    /// What happened.
    pub what: What,
    /// When.
    pub at: Timestamp,
    /// The session's public name.
    pub session: Option<SessionId>,
    /// The configured name of the provider.
    pub provider: Option<String>,
    /// Who; absent for strangers, whose records share one budget.
    pub who: Option<Who>,
    /// Who holds the session.
    pub client: Option<ClientKind>,
    /// From where; absent when nobody called (the gateway found it out by itself).
    pub peer: Option<Peer>,
    /// `User-Agent`, at most 256 bytes, printable.
    pub agent: Option<String>,
    /// A stable code of the reason, when refused or ended.
    pub why: Option<&'static str>,
    /// One sentence for a human.
    pub note: Option<String>,
    /// By which means they signed in (`amr`), where the provider says so.
    pub amr: Vec<String>,
    /// Workloads that act for them, the one that calls last.
    pub act: Vec<Actor>,
}

impl SessionEvent {
    pub(crate) fn new(what: What, at: Timestamp, caller: Option<&crate::caller::Caller>) -> Self {
        Self {
            what,
            at,
            session: None,
            provider: None,
            who: None,
            client: None,
            peer: caller.and_then(|caller| caller.peer.clone()),
            agent: caller.and_then(|caller| caller.agent.clone()),
            why: None,
            note: None,
            amr: Vec::new(),
            act: Vec::new(),
        }
    }

    pub(crate) fn about(mut self, session: &Session) -> Self {
        self.session = Some(session.id.clone());
        self.provider = Some(session.provider.clone());
        self.client = Some(session.client);
        self.who = Some(Who::of(session));
        self
    }

    /// Whether whoever caused it has proved to be nobody: the record then comes out of the strangers' budget. One with a
    /// refused credential proves nothing, also where the record says whose it was.
    #[must_use]
    pub const fn is_by_stranger(&self) -> bool {
        self.who.is_none() || matches!(self.what, What::CredentialRefused)
    }

    pub(crate) fn because(mut self, why: &'static str, note: impl Into<Option<String>>) -> Self {
        self.why = Some(why);
        self.note = note.into();
        self
    }

    /// A chain says who calls first, a record last.
    pub(crate) fn through(mut self, chain: &Chain) -> Self {
        self.act = chain.actors().iter().rev().cloned().collect();
        self
    }

    pub(crate) fn at_provider(mut self, provider: &str) -> Self {
        self.provider = Some(provider.to_owned());
        self
    }
}

/// The event is not durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event could not be written to the ledger: {0}")]
pub struct NotRecorded(pub String);

/// Writes events down. Resolves when the event is durable.
pub trait Recorder: Send + Sync {
    /// Writes one event down, and gives the record's id; none where strangers have had as many records as they may, and it is
    /// counted.
    fn record(&self, event: SessionEvent) -> BoxFuture<'_, Result<Option<String>, NotRecorded>>;

    /// One more refusal without a record of its own: the next summary counts it, for this subject or for strangers.
    fn count(&self, whose: Option<&SubjectId>);
}
