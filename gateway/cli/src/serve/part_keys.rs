//! The keys of parts and recordings, from the state store: outside the ledger, so that destroying one erases what it sealed.

use std::sync::Arc;

use console::api::{Opened, OpensParts};
use futures::future::BoxFuture;
use model::erasure::{Erased, recording_class};
use model::subject::SubjectId;
use proxy::audit::{Class, PartKey, PartKeys, open_part};
use proxy::session::{KeyError, RecordingKeys};
use recording::SessionKey;
use search::SealedPart;
use state::{StateError, Store};

/// Keys that the state store keeps.
#[derive(Debug)]
pub(super) struct StoredKeys {
    pub(super) store: Arc<Store>,
}

impl PartKeys for StoredKeys {
    fn key(&self, subject: &SubjectId, class: Class) -> BoxFuture<'_, Result<Arc<PartKey>, String>> {
        let (store, subject) = (Arc::clone(&self.store), subject.clone());
        Box::pin(async move {
            let find = move || store.part_key(subject.as_str(), class.name(), super::now());
            let kept = tokio::task::spawn_blocking(find).await;
            let kept = kept
                .map_err(|error| error.to_string())?
                .map_err(|error| error.to_string())?;
            let key = PartKey::new(&kept.id, &kept.bytes);
            key.map(Arc::new).ok_or_else(|| "it cannot be used".to_owned())
        })
    }

    fn acts_through(&self, subject: &SubjectId, user: &str, origin: &str) -> BoxFuture<'_, Result<(), String>> {
        let (store, subject) = (Arc::clone(&self.store), subject.clone());
        let (user, origin) = (user.to_owned(), origin.to_owned());
        Box::pin(async move {
            let keep = move || store.acts_through(&subject, &user, &origin);
            let kept = tokio::task::spawn_blocking(keep).await;
            kept.map_err(|error| error.to_string())?
                .map_err(|error| error.to_string())
        })
    }
}

impl RecordingKeys for StoredKeys {
    fn new_key(&self, subject: &SubjectId, session: &str) -> BoxFuture<'_, Result<SessionKey, KeyError>> {
        let (store, subject) = (Arc::clone(&self.store), subject.clone());
        let class = recording_class(session);
        Box::pin(async move {
            let make = move || store.part_key(subject.as_str(), &class, super::now());
            let made = tokio::task::spawn_blocking(make).await;
            let made = made.map_err(|error| KeyError::Store(error.into()))?.map_err(no_key)?;
            Ok(SessionKey::new(made.bytes))
        })
    }

    fn forget(&self, subject: &SubjectId, session: &str) {
        let (store, subject, class) = (Arc::clone(&self.store), subject.clone(), recording_class(session));
        let forget = move || {
            if let Err(error) = store.drop_part_key(subject.as_str(), &class) {
                tracing::warn!(error = %error, "the key of a recording that never began is still kept");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(forget)),
            Err(_) => forget(),
        }
    }
}

impl OpensParts for StoredKeys {
    fn open(&self, subject: &SubjectId, request: &str, part: &SealedPart) -> Opened {
        let Some(class) = Class::ALL.into_iter().find(|class| class.name() == part.class) else {
            return Opened::Unreadable("it is of a class that this version does not know".to_owned());
        };
        let kept = match self.store.part_key_named(subject.as_str(), &part.key) {
            Ok(kept) => kept,
            Err(error) => return Opened::Unreadable(error.to_string()),
        };
        let Some(key) = kept.and_then(|kept| PartKey::new(&kept.id, &kept.bytes)) else {
            return match self.store.erased_key(&part.key) {
                Ok(erased) => erased.map_or(Opened::NoKey, Opened::Erased),
                Err(error) => Opened::Unreadable(error.to_string()),
            };
        };
        match open_part(&key, request, class, &part.commitment, &part.bytes) {
            Some(plain) => Opened::Plain(plain),
            None => Opened::Unreadable("it is not what the record says that stood beside it".to_owned()),
        }
    }
}

impl StoredKeys {
    /// The key of a session's recording, where there is one still. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn recording_key(&self, subject: &SubjectId, session: &str) -> Result<Option<SessionKey>, String> {
        let found = self.store.find_part_key(subject.as_str(), &recording_class(session));
        Ok(found
            .map_err(|error| error.to_string())?
            .map(|key| SessionKey::new(key.bytes)))
    }
}

impl StoredKeys {
    /// What a record says of the key of a session's recording, where it was erased. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn erased_recording(&self, subject: &SubjectId, session: &str) -> Result<Option<Erased>, String> {
        let erased = self.store.erased_key_of(subject.as_str(), &recording_class(session));
        erased.map_err(|error| error.to_string())
    }
}

fn no_key(error: StateError) -> KeyError {
    match error {
        StateError::Sealed { .. } => KeyError::Unopened(error.into()),
        error => KeyError::Store(error.into()),
    }
}
