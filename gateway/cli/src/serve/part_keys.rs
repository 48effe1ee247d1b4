//! The keys of parts and recordings, from the state store: outside the ledger, so that destroying one erases what it sealed.

use std::sync::Arc;

use futures::future::BoxFuture;
use model::subject::SubjectId;
use proxy::audit::{Class, PartKey, PartKeys};
use proxy::session::RecordingKeys;
use recording::SessionKey;
use state::Store;

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
}

impl RecordingKeys for StoredKeys {
    fn new_key(&self, subject: &SubjectId, session: &str) -> BoxFuture<'_, Result<SessionKey, String>> {
        let (store, subject) = (Arc::clone(&self.store), subject.clone());
        let class = recording_class(session);
        Box::pin(async move {
            let make = move || store.part_key(subject.as_str(), &class, super::now());
            let made = tokio::task::spawn_blocking(make).await;
            let made = made
                .map_err(|error| error.to_string())?
                .map_err(|error| error.to_string())?;
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

/// One key for each session, of its subject: destroying one erases one recording, destroying a subject's erases all of theirs.
pub(super) fn recording_class(session: &str) -> String {
    format!("recording:{session}")
}
