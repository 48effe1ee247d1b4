//! The keys of parts, from the state store: outside the ledger, so that destroying one erases what it sealed.

use std::sync::Arc;

use futures::future::BoxFuture;
use model::subject::SubjectId;
use proxy::audit::{Class, PartKey, PartKeys};
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
