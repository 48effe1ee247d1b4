//! What is kept beside a record and can be erased without touching it: values of a query, a whole `User-Agent`, exec arguments,
//! the tail of a path, masked bodies. The record holds a salted commitment to each; salt and bytes are sealed under a key of the subject's own
//! for that class of data, and the key lives outside the ledger. Destroying it is the erasure.
//!
//! Invariants: nothing leaves this file unsealed; what has no subject has no part; a query value is kept only under a
//! key that Kubernetes itself knows (promise 6).

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::{constant_time, hmac};
use futures::future::BoxFuture;
use model::event::names::NAME_CLASS;
use model::event::{By, Part};
use model::request::{MAX_TARGET_BYTES, Target};
use model::subject::SubjectId;
use quick_cache::sync::Cache;

use super::bodies::{Asked, MOST_DOCUMENT};
use super::trail::Trail;
use super::{query, words};
use crate::refusal::Refusal;
use crate::session::tunnel::runs_a_command;

const VERSION: u8 = 1;
const SALT_LEN: usize = 32;
/// The longest part, before it is sealed: as long as the longest target, so that nothing of one is cut.
const MOST: usize = MAX_TARGET_BYTES;
const _: () = assert!(MOST + 128 < ledger::frame::MAX_PART_LEN, "a sealed part is a part");
const _: () = assert!(
    MOST_DOCUMENT + 128 < ledger::frame::MAX_PART_LEN,
    "and so is a document"
);
/// Keys that are held in memory; others are asked for again.
const MOST_KEYS: usize = 50_000;

/// What sort of data a key is for, so that one sort can be erased or kept shorter than another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Values of query parameters.
    Query,
    /// `User-Agent`.
    Agent,
    /// Arguments of exec.
    Command,
    /// What stands behind `/proxy/`, or in a path that is no resource's.
    Path,
    /// The body of a request, masked.
    Body,
    /// The body of an answer, masked.
    Answer,
    /// What an answer changed of what passed before it, masked.
    Diff,
    /// Who it was, and words in which people are named, where names are sealed.
    Name,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 8] = [
        Self::Query,
        Self::Agent,
        Self::Command,
        Self::Path,
        Self::Body,
        Self::Answer,
        Self::Diff,
        Self::Name,
    ];

    /// The name in records and of the keys.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Agent => "agent",
            Self::Command => "command",
            Self::Path => "path",
            Self::Body => "body",
            Self::Answer => "answer",
            Self::Diff => "diff",
            Self::Name => NAME_CLASS,
        }
    }
}

/// The key of one subject for one class.
pub struct PartKey {
    id: Box<str>,
    key: LessSafeKey,
}

impl fmt::Debug for PartKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartKey({})", self.id)
    }
}

impl PartKey {
    /// From its public name and its 32 bytes. `None` never happens for 32 bytes; the cryptography's answer is passed on.
    #[must_use]
    pub fn new(id: &str, bytes: &[u8; 32]) -> Option<Self> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).ok()?);
        Some(Self { id: id.into(), key })
    }
}

/// Where the keys are kept.
pub trait PartKeys: Send + Sync + fmt::Debug {
    /// The key of this subject for this class: made at first use, and durable before it is given out.
    ///
    /// # Errors
    /// In words why it cannot be had; the call is refused then.
    fn key(&self, subject: &SubjectId, class: Class) -> BoxFuture<'_, Result<Arc<PartKey>, String>>;

    /// The person of the user name `origin` acts as the account `subject`, of the user name `user`, with a credential that was handed out
    /// to them: what is sealed under its keys is a trace of theirs, too. Resolves when that is durable.
    ///
    /// # Errors
    /// In words why it cannot be kept; the call is refused then.
    fn acts_through(&self, subject: &SubjectId, user: &str, origin: &str) -> BoxFuture<'_, Result<(), String>>;
}

/// Seals parts with the keys of their subjects.
#[derive(Debug)]
pub(super) struct Sealer {
    keys: Arc<dyn PartKeys>,
    known: Cache<(SubjectId, Class), Arc<PartKey>>,
    /// Who acted as whom, as far as it is durable.
    through: Cache<(SubjectId, Box<str>), ()>,
    /// How often keys were forgotten. Read while something is sealed and handed to the ledger, so that whatever is sealed under a key stands
    /// before the record that says the key was erased.
    forgotten: RwLock<u64>,
}

impl Sealer {
    pub(super) fn new(keys: Arc<dyn PartKeys>) -> Self {
        Self {
            keys,
            known: Cache::new(MOST_KEYS),
            through: Cache::new(MOST_KEYS),
            forgotten: RwLock::new(0),
        }
    }

    /// Asks for each key anew from now on: some were taken out of use. When this returns, whatever was sealed under them has been handed to
    /// the ledger, and nothing more will be.
    #[cfg(test)]
    pub(super) fn forget(&self) {
        self.forget_and(|| ());
    }

    /// The same, and does this in the same moment: nothing is sealed meanwhile, under keys from before or from then on.
    pub(super) fn forget_and(&self, act: impl FnOnce()) {
        let mut forgotten = self.forgotten.write().unwrap_or_else(PoisonError::into_inner);
        *forgotten = forgotten.saturating_add(1);
        self.known.clear();
        act();
    }

    /// Has it kept who stands behind the account that calls, so that nobody decides about traces of their own unknown. Before the act is
    /// recorded.
    ///
    /// # Errors
    /// It cannot be kept: whose traces these are would be lost.
    pub(super) async fn remember(&self, by: &By<'_>) -> Result<(), Refusal> {
        let Some(origin) = by.origin else { return Ok(()) };
        let pair = (by.id.clone(), Box::from(origin));
        if self.through.get(&pair).is_some() {
            return Ok(());
        }
        let kept = self.keys.acts_through(by.id, by.user, origin).await;
        kept.map_err(|why| Refusal::LedgerRefuses(format!("who stands behind the account cannot be kept: {why}")))?;
        self.through.insert(pair, ());
        Ok(())
    }

    /// Whether keys are being forgotten at this moment.
    #[cfg(test)]
    pub(super) fn is_forgetting(&self) -> bool {
        self.forgotten.try_read().is_err()
    }

    fn forgotten(&self) -> u64 {
        *self.forgotten.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys of this subject for these classes.
    ///
    /// # Errors
    /// One cannot be had: the record would not be whole.
    pub(super) async fn keys(&self, subject: &SubjectId, classes: &[Class]) -> Result<Keys, Refusal> {
        let (as_of, mut of) = (self.forgotten(), Vec::with_capacity(classes.len()));
        for class in classes {
            of.push((*class, self.key(subject, *class).await?));
        }
        Ok(Keys { as_of, of })
    }

    /// Seals and hands to the ledger what `act` does, while none of these keys can be taken out of use. `None`, and nothing was done: keys
    /// were, since these were had.
    pub(super) fn with<T>(&self, keys: &Keys, act: impl FnOnce() -> T) -> Option<T> {
        let forgotten = self.forgotten.read().unwrap_or_else(PoisonError::into_inner);
        (*forgotten == keys.as_of).then(act)
    }

    /// Does what must not see keys taken out of use in the middle.
    pub(super) fn undisturbed<T>(&self, act: impl FnOnce() -> T) -> T {
        let _forgotten = self.forgotten.read().unwrap_or_else(PoisonError::into_inner);
        act()
    }

    /// While nothing is forgotten, so that nobody finds here what was to be forgotten, not even for a moment. False where all was, since `before`.
    fn is_kept(&self, wanted: &(SubjectId, Class), key: &Arc<PartKey>, before: u64) -> bool {
        let forgotten = self.forgotten.read().unwrap_or_else(PoisonError::into_inner);
        let is_as_before = *forgotten == before;
        if is_as_before {
            self.known.insert(wanted.clone(), Arc::clone(key));
        }
        is_as_before
    }

    async fn key(&self, subject: &SubjectId, class: Class) -> Result<Arc<PartKey>, Refusal> {
        let wanted = (subject.clone(), class);
        if let Some(key) = self.known.get(&wanted) {
            return Ok(key);
        }
        loop {
            let before = self.forgotten();
            let key = self.keys.key(subject, class).await;
            let key = key.map_err(|why| Refusal::LedgerRefuses(format!("the key of a part cannot be had: {why}")))?;
            if self.is_kept(&wanted, &key, before) {
                return Ok(key);
            }
            // It was had before keys were forgotten: it may be one of them.
        }
    }
}

/// Keys of one subject, as they were when they were asked for. They seal inside [`Sealer::with`] alone.
#[derive(Debug)]
pub(super) struct Keys {
    as_of: u64,
    of: Vec<(Class, Arc<PartKey>)>,
}

impl Keys {
    /// Whether each of these is among the others: none was exchanged for a new one.
    pub(super) fn are_of(&self, others: &Self) -> bool {
        let is_there = |(class, key): &(Class, Arc<PartKey>)| {
            others.of.iter().any(|(other, of)| other == class && of.id == key.id)
        };
        self.of.iter().all(is_there)
    }

    /// What lies beside one record, sealed; `None` where a key is missing, or cryptography says no.
    pub(super) fn seal<'b>(&self, request: &str, loose: impl IntoIterator<Item = (Class, &'b [u8])>) -> Option<Sealed> {
        let sealed = loose.into_iter().map(|(class, bytes)| {
            let (_, key) = self.of.iter().find(|(of, _)| *of == class)?;
            seal(key, request, class, bytes)
        });
        Some(sealed.collect::<Option<Vec<_>>>()?.into_iter().unzip())
    }
}

/// Parts as the record names them, and as they stand beside it.
pub(super) type Sealed = (Vec<Part>, Vec<ledger::Part>);

/// What of this request is kept beside its record, not sealed yet.
pub(super) fn loose(trail: &Trail) -> Vec<(Class, Vec<u8>)> {
    let target = trail.target.as_ref();
    let mut loose = target
        .map(|target| of_target(target, trail.path_beside(target)))
        .unwrap_or_default();
    let agent = trail.whole_agent().unwrap_or_default();
    loose.push((Class::Agent, agent.as_bytes().to_vec()));
    loose.retain(|(_, bytes)| !bytes.is_empty());
    for (_, bytes) in &mut loose {
        bytes.truncate(MOST);
    }
    // Nothing of a document is cut off: it is as long as one may be, or digests stand in it (`payload::Limits`).
    let body = trail.body.get().and_then(Asked::take);
    loose.extend(body.map(|document| (Class::Body, document)));
    loose
}

fn of_target(target: &Target, path: &str) -> Vec<(Class, Vec<u8>)> {
    let asked = target.query_raw().unwrap_or_default();
    // A kubelet's `/run` has its command under a name of its own.
    let by_kubelet = runs_a_command(target);
    let command = words::pairs(asked).filter(|(key, _)| key == "command" || (by_kubelet && key == "cmd"));
    let command: Vec<String> = command.map(|(key, value)| format!("{key}={value}")).collect();
    vec![
        (Class::Path, path.as_bytes().to_vec()),
        (Class::Command, command.join("&").into_bytes()),
        (Class::Query, query::beside(asked).into_bytes()),
    ]
}

/// Seals a part for a record of this id: as the record names it, and as it stands beside it. `None`: cryptography says no.
#[must_use]
pub fn seal_part(key: &PartKey, request: &str, class: Class, bytes: &[u8]) -> Option<(Part, ledger::Part)> {
    seal(key, request, class, bytes)
}

/// Version, nonce, and sealed: salt and bytes. Bound to the request and the part's name, so that no part can stand for another.
fn seal(key: &PartKey, request: &str, class: Class, bytes: &[u8]) -> Option<(Part, ledger::Part)> {
    let (mut nonce, mut body) = ([0; NONCE_LEN], vec![0; SALT_LEN]);
    let random = SystemRandom::new();
    random.fill(&mut nonce).ok()?;
    random.fill(&mut body).ok()?;
    let commitment = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &body), bytes);
    body.extend_from_slice(bytes);
    key.key
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound_to(request, class), &mut body)
        .ok()?;
    let sealed = ledger::Part {
        bytes: [&[VERSION][..], &nonce, &body].concat(),
    };
    let part = Part {
        name: class.name(),
        len: u64::try_from(bytes.len()).ok()?,
        commitment: hex::encode(commitment),
        class: class.name(),
        key: key.id.to_string(),
        sealed: ledger::Part::digest(&sealed.bytes),
    };
    Some((part, sealed))
}

/// Opens a part and compares it with its commitment (hexadecimal). `None`: another key, another request, or changed bytes.
#[must_use]
pub fn open_part(key: &PartKey, request: &str, class: Class, commitment: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let (&version, rest) = sealed.split_first()?;
    let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>()?;
    if version != VERSION {
        return None;
    }
    let mut body = body.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let plain = key.key.open_in_place(nonce, bound_to(request, class), &mut body).ok()?;
    let (salt, bytes) = plain.split_first_chunk::<SALT_LEN>()?;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, salt), bytes);
    let text = hex::encode(tag);
    constant_time::verify_slices_are_equal(text.as_bytes(), commitment.as_bytes()).ok()?;
    Some(bytes.to_vec())
}

/// Entry for the fuzzer: foreign bytes are no part, and never a panic.
pub fn fuzz_open_part(data: &[u8]) {
    if let Some(key) = PartKey::new("k", &[7; 32]) {
        let _ = open_part(&key, "r", Class::Query, "", data);
    }
}

fn bound_to(request: &str, class: Class) -> Aad<Vec<u8>> {
    Aad::from(["gatescribe part v1", request, class.name()].join("\0").into_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_part_opens_under_its_own_key_request_and_class_alone(bytes in prop::collection::vec(any::<u8>(), 1..300), flip: prop::sample::Index) {
            let (key, other) = (PartKey::new("a", &[1; 32]).unwrap(), PartKey::new("b", &[2; 32]).unwrap());
            let (part, sealed) = seal(&key, "r", Class::Query, &bytes).unwrap();
            let open = |key, request, class, sealed: &[u8]| open_part(key, request, class, &part.commitment, sealed);
            prop_assert_eq!(open(&key, "r", Class::Query, &sealed.bytes), Some(bytes.clone()));
            prop_assert_eq!(open(&other, "r", Class::Query, &sealed.bytes), None);
            prop_assert_eq!(open(&key, "s", Class::Query, &sealed.bytes), None);
            prop_assert_eq!(open(&key, "r", Class::Agent, &sealed.bytes), None);
            let mut changed = sealed.bytes.clone();
            changed[flip.index(sealed.bytes.len())] ^= 1;
            prop_assert_eq!(open(&key, "r", Class::Query, &changed), None);
            prop_assert_eq!(open_part(&key, "r", Class::Query, "00", &sealed.bytes), None);
        }

        #[test]
        fn foreign_bytes_are_no_part(data in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz_open_part(&data);
        }
    }

    /// Hands out the keys of one number after the other, and has them forgotten while the first is on its way.
    #[derive(Debug, Default)]
    struct InTurn {
        given: AtomicU64,
        sealer: std::sync::OnceLock<std::sync::Weak<Sealer>>,
        /// Who was said to act as whom; once it cannot be kept.
        through: std::sync::Mutex<Vec<(String, String)>>,
    }

    impl PartKeys for InTurn {
        fn key(&self, _: &SubjectId, _: Class) -> BoxFuture<'_, Result<Arc<PartKey>, String>> {
            let number = self.given.fetch_add(1, Ordering::SeqCst);
            let key = PartKey::new(&number.to_string(), &[1; 32]).unwrap();
            if let Some(sealer) = self
                .sealer
                .get()
                .and_then(std::sync::Weak::upgrade)
                .filter(|_| number == 0)
            {
                sealer.forget();
            }
            Box::pin(async move { Ok(Arc::new(key)) })
        }

        fn acts_through(&self, _: &SubjectId, user: &str, origin: &str) -> BoxFuture<'_, Result<(), String>> {
            let mut through = self.through.lock().unwrap();
            through.push((user.to_owned(), origin.to_owned()));
            let kept = if through.len() == 1 {
                Err("full".to_owned())
            } else {
                Ok(())
            };
            Box::pin(std::future::ready(kept))
        }
    }

    #[tokio::test]
    async fn who_stands_behind_an_account_is_kept_once_and_a_call_of_which_it_cannot_be_kept_is_refused() {
        let keys = Arc::new(InTurn::default());
        let sealer = Sealer::new(Arc::clone(&keys) as Arc<dyn PartKeys>);
        let robot = SubjectId::from_digest([1; 16]);
        let by = |origin| By {
            id: &robot,
            kind: model::subject::SubjectKind::ServiceAccount,
            iss: "cluster:test",
            sub: "robot",
            user: "system:serviceaccount:shop:robot",
            email: None,
            groups_hash: "",
            session: None,
            credential: "serviceAccount",
            credential_id: None,
            auth_time: None,
            origin,
            acr: None,
        };
        sealer.remember(&by(None)).await.unwrap();
        let refused = sealer.remember(&by(Some("alice"))).await.unwrap_err();
        assert!(
            refused.in_words().contains("cannot be kept: full"),
            "{}",
            refused.in_words()
        );
        for origin in ["alice", "alice", "bob", "alice", "bob"] {
            sealer.remember(&by(Some(origin))).await.unwrap();
        }
        let said: Vec<String> = keys
            .through
            .lock()
            .unwrap()
            .iter()
            .map(|(_, origin)| origin.clone())
            .collect();
        assert_eq!(
            said,
            ["alice", "alice", "bob"],
            "again after it failed, and then once for each"
        );
        assert_eq!(keys.through.lock().unwrap()[0].0, "system:serviceaccount:shop:robot");
    }

    #[tokio::test]
    async fn nothing_is_sealed_under_a_key_that_was_forgotten_also_while_it_was_on_its_way() {
        let keys = Arc::new(InTurn::default());
        let sealer = Arc::new(Sealer::new(Arc::clone(&keys) as Arc<dyn PartKeys>));
        keys.sealer.set(Arc::downgrade(&sealer)).unwrap();
        let alice = SubjectId::from_digest([1; 16]);
        let id = async || sealer.key(&alice, Class::Query).await.unwrap().id.clone();
        assert_eq!(&*id().await, "1", "0 was had before it was forgotten");
        assert_eq!(&*id().await, "1", "and is not asked for again");
        sealer.forget();
        assert_eq!(&*id().await, "2");
    }

    /// What is sealed under a key is handed on before whoever takes it out of use goes on, or not at all.
    #[tokio::test]
    async fn a_key_is_not_taken_out_of_use_while_something_is_sealed_with_it() {
        let sealer = Arc::new(Sealer::new(Arc::new(InTurn::default()) as Arc<dyn PartKeys>));
        let alice = SubjectId::from_digest([1; 16]);
        // The first key is forgotten while it is on its way, by nobody here.
        let keys = sealer.keys(&alice, &[Class::Answer]).await.unwrap();
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (other, their_order) = (Arc::clone(&sealer), Arc::clone(&order));
        let told = sealer.with(&keys, || {
            let forgetting = std::thread::spawn(move || {
                other.forget();
                their_order.lock().unwrap().push("forgotten");
            });
            let sealed = keys.seal("r", [(Class::Answer, b"held".as_slice())]);
            order.lock().unwrap().push("sealed");
            assert!(sealed.is_some() && keys.seal("r", [(Class::Diff, b"".as_slice())]).is_none());
            forgetting
        });
        told.unwrap().join().unwrap();
        assert_eq!(*order.lock().unwrap(), ["sealed", "forgotten"]);
        assert!(sealer.with(&keys, || ()).is_none(), "they are out of use");
        let anew = sealer.keys(&alice, &[Class::Answer]).await.unwrap();
        assert!(sealer.with(&anew, || ()).is_some());
    }

    #[test]
    fn a_command_is_kept_however_it_is_spelled_and_whoever_is_to_run_it() {
        let kept = |target: &str| {
            let target = Target::parse(target.as_bytes()).unwrap();
            let parts = of_target(&target, words::beside(target.path_raw())).into_iter();
            let command = parts
                .filter(|(class, _)| *class == Class::Command)
                .map(|(_, bytes)| bytes);
            String::from_utf8(command.collect::<Vec<_>>().concat()).unwrap()
        };
        let exec = "/api/v1/namespaces/a/pods/p/exec?";
        assert_eq!(kept(&format!("{exec}%63ommand=id&stdout=1")), "command=id");
        assert_eq!(kept(&format!("{exec}command=a;b&command=id")), "command=id");
        let long = format!("command={}", "x".repeat(60 << 10));
        assert_eq!(kept(&format!("{exec}{long}")), long);
        let run = "/api/v1/nodes/n/proxy/run/a/p/c?cmd=id%20-u";
        assert_eq!(kept(run), "cmd=id%20-u");
        assert_eq!(
            kept("/api/v1/namespaces/a/services/s/proxy/run?cmd=id"),
            "",
            "a backend's own word"
        );
    }

    #[test]
    fn equal_values_have_different_commitments_so_that_none_can_be_guessed_by_another() {
        let key = PartKey::new("a", &[1; 32]).unwrap();
        let commitment = || seal(&key, "r", Class::Query, b"app=shop").unwrap().0.commitment;
        assert_ne!(commitment(), commitment());
    }
}
