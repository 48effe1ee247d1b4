//! What of the bodies of a call is kept, where the audit policy asks for it: masked by default-deny before anything of them is
//! written (promise 6), the request's beside its intent, the answer's behind it.
//!
//! Not here: the rule of what is masked (crate `payload`), the sealing (`part.rs`).
//!
//! Invariants: no byte of a body leaves this folder but in a masked document or a keyed digest; what is not read is said with its
//! reason and never guessed; what is held in memory is bounded, and who finds no room is recorded all the same (promise 8).

mod before;
mod budget;
mod counts;
mod tap;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use audit_policy::Level;
use aws_lc_rs::hmac;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Request};
use http_body::Body;
use model::cluster::ClusterId;
use model::event::BodySeen;
use model::request::RequestFacts;
use model::subject::SubjectId;
use payload::{About, DigestKey, Document, Domain, Limits, Masker, Recorded, Side};
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use self::before::Before;
pub(crate) use self::budget::{BodyBudget, NoRoom, Room};
pub(super) use self::counts::Counts;
pub use self::counts::Fate;
pub(super) use self::tap::{Answered, Tap};
use self::turns::{Turn, Turns};
use super::{Station, Trail, words};
use crate::body::{Beginning, Begun};
use crate::listener::InboundError;

/// Bytes of a body that are read. What is longer is not guessed at.
pub(super) const MOST: usize = 64 << 10;
/// Bytes of a masked document; it is sealed as one part.
pub(super) const MOST_DOCUMENT: usize = 64 << 10;
/// A client may take so long for the first [`MOST`] bytes of a body; then it passes unread.
const WITHIN: Duration = Duration::from_secs(5);
/// Bytes of bodies and their documents that are held at the same time; of them each subject may have so many in any case: one body
/// of the longest, and its document.
const OF_ALL: usize = 64 << 20;
const FIRST: usize = MOST + MOST_DOCUMENT;
/// Longer bodies are masked on a thread that may take its time: masking 4 KiB takes less than handing them over is worth.
const AT_ONCE: usize = 4 << 10;

/// Masks bodies, and remembers of objects that passed what is needed to say what changed.
pub struct Bodies {
    secret: Zeroizing<[u8; 32]>,
    key: Arc<str>,
    clusters: RwLock<HashMap<ClusterId, Arc<OfCluster>>>,
    budget: Arc<BodyBudget>,
    before: Before,
    /// Ends whose answer is being masked.
    ends: TaskTracker,
    /// Who masks a long body at the moment: what it is taken apart to takes many times its own room, which nobody counts.
    masking: Arc<Turns>,
}

impl std::fmt::Debug for Bodies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bodies({})", self.key)
    }
}

/// The keys of one cluster: there are as many as are configured.
#[derive(Debug)]
struct OfCluster {
    whole: Masker,
    without_managed: Masker,
    digests: hmac::Key,
}

/// What is kept of one body.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) seen: BodySeen,
    pub(super) document: Option<Document>,
}

impl Kept {
    /// It was not looked at, or not to its end.
    pub(super) fn none(media: Option<&str>, why: &'static str) -> Self {
        Self::without(media, "none", why)
    }

    /// It was there, and is not read.
    fn opaque(media: Option<&str>, why: &'static str) -> Self {
        Self::without(media, "opaque", why)
    }

    /// There is no room for its document.
    fn without_room(self, media: Option<&str>, none: NoRoom) -> Self {
        let mut kept = Self::none(media, none.code());
        kept.seen.bytes = self.seen.bytes;
        kept
    }

    fn without(media: Option<&str>, kept: &'static str, why: &'static str) -> Self {
        Self {
            seen: BodySeen {
                kept,
                media: media.and_then(words::media_type).map(Box::from),
                why: Some(why),
                ..BodySeen::default()
            },
            document: None,
        }
    }
}

/// So many long bodies are masked at the same time: as many as the machine can, since more of them only take memory. A body of [`MOST`] bytes
/// is taken apart to some MiB at the worst (`[1,1,1,…`).
fn at_a_time() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 16))
}

/// What is kept of the body of a request.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) seen: BodySeen,
    /// Until the record that begins the call has it: calls wait, and what waits takes no room that nobody counts (promise 8).
    document: Mutex<Option<Vec<u8>>>,
}

impl Asked {
    pub(super) fn of(kept: Kept) -> Self {
        let document = kept.document.map(|document| document.json().as_bytes().to_vec());
        Self {
            seen: kept.seen,
            document: Mutex::new(document),
        }
    }

    /// The document, for whoever comes first.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        self.document.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What a body is, as its headers say.
#[derive(Clone, Debug, Default)]
pub(super) struct Form {
    media: Option<String>,
    encoding: Option<String>,
}

impl Form {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        // What is no text is no media type that is read either.
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let encodings: Vec<String> = headers.get_all(CONTENT_ENCODING).iter().map(text).collect();
        Self {
            media: headers.get(CONTENT_TYPE).map(text),
            encoding: (!encodings.is_empty()).then(|| encodings.join(",")),
        }
    }

    /// Why such a body is not looked at, whatever stands in it.
    fn unreadable(&self) -> Option<&'static str> {
        let encoding = self.encoding.as_deref().unwrap_or_default().trim();
        if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
            Some(payload::Why::Compressed.code())
        } else if payload::read_as(self.media.as_deref()).is_none() {
            Some(payload::Why::OtherType.code())
        } else {
            None
        }
    }
}

impl Bodies {
    /// `secret` is random and is used for nothing else. Digests that are made with another one do not compare.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        let named = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &secret),
            b"gatescribe payload key name",
        );
        Self {
            key: hex::encode(named.as_ref().get(..8).unwrap_or_default()).into(),
            secret: Zeroizing::new(secret),
            clusters: RwLock::default(),
            budget: BodyBudget::of(OF_ALL, FIRST),
            before: Before::default(),
            ends: TaskTracker::new(),
            masking: Turns::of(at_a_time()),
        }
    }

    /// Remembers no object that passed to this subject until now.
    pub(super) fn forget(&self, subject: &SubjectId) {
        self.before.forget(subject);
    }

    fn cluster(&self, id: &ClusterId) -> Arc<OfCluster> {
        let known = self
            .clusters
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned();
        known.unwrap_or_else(|| {
            let made = Arc::new(OfCluster::new(&self.secret, id.as_str()));
            let mut all = self.clusters.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(id.clone()).or_insert(made))
        })
    }

    /// Waits until it is this subject's turn to have a long body masked.
    async fn turn(&self, subject: &str) -> Turn {
        self.masking.take(subject).await
    }

    /// Masks a whole body. A fault in it costs the document and nothing else.
    fn mask(&self, of: &Of, form: &Form, bytes: &[u8], side: Side) -> Kept {
        let masked = catch_unwind(AssertUnwindSafe(|| self.masked(of, form, bytes, side)));
        let mut kept = masked.unwrap_or_else(|_| Kept::none(form.media.as_deref(), "fault"));
        kept.seen.bytes = u64::try_from(bytes.len()).ok();
        kept
    }

    fn masked(&self, of: &Of, form: &Form, bytes: &[u8], side: Side) -> Kept {
        let cluster = self.cluster(&of.cluster);
        let masker = if of.omit_managed {
            &cluster.without_managed
        } else {
            &cluster.whole
        };
        let (media, encoding) = (form.media.as_deref(), form.encoding.as_deref());
        let body = payload::Body {
            bytes,
            is_whole: true,
            content_type: media,
            content_encoding: encoding,
        };
        match masker.mask(&body, &of.about(side)) {
            Recorded::Document(document) => Kept {
                seen: self.seen(&document, media),
                document: Some(document),
            },
            Recorded::Opaque(opaque) => {
                let mut kept = Kept::opaque(media, opaque.why.code());
                kept.seen.kind = opaque.kind.map(|(version, kind)| format!("{version}/{kind}").into());
                kept
            }
        }
    }

    fn seen(&self, document: &Document, media: Option<&str>) -> BodySeen {
        let masked = document.masked();
        let values = Domain::ALL
            .into_iter()
            .map(|domain| masked.values(domain))
            .sum::<usize>();
        BodySeen {
            kept: "document",
            media: media.and_then(words::media_type).map(Box::from),
            read: payload::read_as(media),
            masked: values.saturating_add(masked.keys),
            alarms: masked.alarms,
            cut_at: document.cut_at(),
            key: Some(Arc::clone(&self.key)),
            ..BodySeen::default()
        }
    }
}

impl OfCluster {
    fn new(secret: &[u8; 32], cluster: &str) -> Self {
        let limits = Limits {
            body: MOST,
            document: MOST_DOCUMENT,
            ..Limits::default()
        };
        let masker = |omit| Masker::new(DigestKey::new(secret, cluster), limits, omit);
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let named = format!("gatescribe body v1\0{cluster}");
        Self {
            whole: masker(false),
            without_managed: masker(true),
            digests: hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, named.as_bytes()).as_ref()),
        }
    }

    /// The key of the digests of bodies to one resource. Groups and resources have no such byte as stands between them here.
    fn digests_of(&self, facts: &RequestFacts) -> hmac::Key {
        let named = [facts.api_group(), facts.resource(), facts.subresource()].join("\0");
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&self.digests, named.as_bytes()).as_ref())
    }
}

/// What a body is about, as far as the path and the policy say it.
#[derive(Clone, Debug)]
pub(super) struct Of {
    cluster: ClusterId,
    facts: RequestFacts,
    omit_managed: bool,
}

impl Of {
    fn about(&self, side: Side) -> About<'_> {
        About {
            group: self.facts.api_group(),
            version: self.facts.api_version(),
            resource: self.facts.resource(),
            subresource: self.facts.subresource(),
            side,
        }
    }
}

/// What a station knows that keeps bodies.
pub(super) type Keeping = OnceLock<Arc<Bodies>>;

impl Station {
    /// From now on bodies are kept where the policy asks for them. Without it those calls have level Metadata. Counts once.
    pub fn keeps_bodies(&self, bodies: Bodies) {
        // A second one would make digests that do not compare.
        let _ = self.bodies.set(Arc::new(bodies));
    }

    /// How often bodies of requests and answers were kept since the start, and why the others were not: `request` or `answer`, what became
    /// of it, and how often.
    pub fn bodies_counted(&self) -> impl Iterator<Item = (&'static str, Fate, u64)> {
        self.body_counts.each()
    }

    /// Bytes of bodies and documents that are held now, and the most that may be.
    #[must_use]
    pub fn body_bytes(&self) -> (usize, usize) {
        self.bodies.get().map_or((0, OF_ALL), |bodies| bodies.budget.held())
    }

    /// Waits until the ends of all answers that are being masked are written. To be called when no new requests come.
    pub(crate) async fn ends_written(&self) {
        if let Some(bodies) = self.bodies.get() {
            bodies.ends.close();
            bodies.ends.wait().await;
        }
    }

    fn wanted(&self, trail: &Trail, at: Level) -> Option<&Arc<Bodies>> {
        let kept = self.judged(trail)?.kept();
        self.bodies.get().filter(|_| kept >= at)
    }

    /// What the body of an API object is about; `None`: it is somebody else's, or none at all.
    fn about(&self, trail: &Trail) -> Option<Of> {
        let facts = trail.facts.as_ref()?;
        let is_object = facts.is_resource_request() && !trail.reaches_a_backend() && !trail.may_become_a_session();
        is_object.then_some(Of {
            cluster: trail.cluster.clone()?,
            facts: facts.clone(),
            omit_managed: self.judged(trail)?.omits_managed(),
        })
    }

    /// Reads the beginning of a request's body, if the policy wants it, and puts what is kept of it on the trail. In any case the
    /// body that is handed on is the one that came.
    pub(crate) async fn begins<B>(&self, trail: &Trail, request: Request<B>) -> Request<Begun<B>>
    where
        B: Body<Data = Bytes, Error = InboundError> + Unpin,
    {
        let Some(bodies) = self.wanted(trail, Level::Request) else {
            return request.map(Begun::from);
        };
        let (head, rest) = request.into_parts();
        if rest.is_end_stream() {
            return Request::from_parts(head, rest.into());
        }
        let form = Form::of(&head.headers);
        let (body, kept) = self.looked_at(bodies, trail, &form, rest).await;
        // A body without a byte is none, however it was announced. Set once: a request is sent once.
        if kept.seen.bytes != Some(0) {
            self.body_counts.add(Side::Request, kept.seen.kept, kept.seen.why);
            let _ = trail.body.set(Asked::of(kept));
        }
        Request::from_parts(head, body)
    }

    async fn looked_at<B>(&self, bodies: &Arc<Bodies>, trail: &Trail, form: &Form, rest: B) -> (Begun<B>, Kept)
    where
        B: Body<Data = Bytes, Error = InboundError> + Unpin,
    {
        let media = form.media.as_deref();
        let declared = rest.size_hint().exact();
        let subject = trail
            .identity
            .as_deref()
            .map(|identity| identity.subject().id().as_str());
        let (Some(of), Some(subject)) = (self.about(trail), subject) else {
            return (rest.into(), Kept::none(media, "notAnObject"));
        };
        let length = declared.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        let unread = match (form.unreadable(), length) {
            (Some(why), _) => Some(why),
            (None, Some(length)) if length > MOST => Some(payload::Why::TooLong.code()),
            _ => None,
        };
        if let Some(why) = unread {
            let mut kept = Kept::opaque(media, why);
            kept.seen.bytes = declared;
            return (rest.into(), kept);
        }
        let room = match bodies.budget.take(subject, length.unwrap_or(MOST)) {
            Ok(room) => room,
            Err(none) => return (rest.into(), Kept::none(media, none.code())),
        };
        let (mut body, beginning) = Begun::read(rest, MOST, WITHIN, room).await;
        let kept = match beginning {
            Beginning::Whole(bytes) => {
                let kept = masked_aside(bodies, subject, of, form, bytes).await;
                // Both are held until the intent is durable.
                let more = kept.document.as_ref().map_or(0, |document| document.json().len());
                match body.widen(more) {
                    Ok(()) => kept,
                    Err(none) => kept.without_room(media, none),
                }
            }
            Beginning::Longer => Kept::opaque(media, payload::Why::TooLong.code()),
            Beginning::Slow => Kept::none(media, "slow"),
            Beginning::BrokeOff => Kept::none(media, "brokeOff"),
        };
        (body, kept)
    }

    /// What is kept of the digest of a request's body: keyed for its cluster and its resource, so that what one may write is no test of what
    /// another one sends elsewhere.
    pub(super) fn keyed(&self, trail: &Trail, sha256: &str) -> Option<String> {
        let bodies = self.bodies.get().filter(|_| trail.may_be_digested())?;
        let cluster = bodies.cluster(trail.cluster.as_ref()?);
        let key = cluster.digests_of(trail.facts.as_ref()?);
        Some(hex::encode(hmac::sign(&key, sha256.as_bytes())))
    }
}

async fn masked_aside(bodies: &Arc<Bodies>, subject: &str, of: Of, form: &Form, bytes: Bytes) -> Kept {
    if bytes.len() <= AT_ONCE {
        return bodies.mask(&of, form, &bytes, Side::Request);
    }
    let turn = bodies.turn(subject).await;
    let (bodies, to_read) = (Arc::clone(bodies), form.clone());
    let masking = tokio::task::spawn_blocking(move || {
        let kept = bodies.mask(&of, &to_read, &bytes, Side::Request);
        drop(turn);
        kept
    });
    masking
        .await
        .unwrap_or_else(|_| Kept::none(form.media.as_deref(), "fault"))
}
