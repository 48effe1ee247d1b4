//! Who holds issued credentials, from one run of the process to the next.
//!
//! The ledger's `issued` records are the truth. So that a start need not read all of it, what was read is kept in the store,
//! with the number of records it was read from; a start reads the rest. Invariant: that number never counts a record whose
//! credential is not in the store.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ledger::{Ledger, Reader};
use model::event::RecordKind;
use model::time::Timestamp;
use proxy::audit::{MOST_ORIGINS, Origin, Station};
use state::{IssuedCredential, Store};
use tokio_util::sync::CancellationToken;

use super::unsigned::Foreign;

/// How often what is new is kept.
const KEEP_EVERY: Duration = Duration::from_secs(2);
/// With nothing new, the number of records that were read is kept when it has grown by so many.
const RECORDS_BETWEEN: u64 = 10_000;

/// Fills the audit station's table from the store. Returns how many records that stands on, of the `size` that there are; the others are for [`read_on`]. Blocking.
///
/// # Errors
/// The store cannot be read.
pub(super) fn restore(size: u64, store: &Store, audit: &Station) -> anyhow::Result<u64> {
    let now = audit.clock().read().wall;
    let (kept, read) = store.issued(now)?;
    for credential in kept {
        let kept = Origin {
            id: credential.id.into(),
            origin: credential.origin.into(),
            until: credential.until,
        };
        audit.origins().restore(kept, now);
    }
    if read <= size {
        return Ok(read);
    }
    tracing::warn!(
        records = size,
        read,
        "the ledger is another one than before: who holds issued credentials is read from all of it"
    );
    Ok(0)
}

/// Adds what the records from `from` on say; those among `foreign` are not the gateway's. Blocking.
///
/// # Errors
/// The ledger cannot be read.
pub(super) fn read_on(
    (dir, names, foreign): (&Path, Option<&Arc<dyn ledger::Names>>, &Foreign),
    from: u64,
    audit: &Station,
) -> anyhow::Result<()> {
    #[derive(serde::Deserialize)]
    struct Leaf {
        t: Timestamp,
        issued: Held,
    }
    #[derive(serde::Deserialize)]
    struct Held {
        id: String,
        origin: String,
        expires: Option<i64>,
    }
    let now = audit.clock().read().wall;
    for record in Reader::open(dir)?.naming(names.cloned()).records_from(from) {
        let record = record?;
        if record.kind != RecordKind::Issued || foreign.has(record.seq) {
            continue;
        }
        let Ok(leaf) = serde_json::from_slice::<Leaf>(&record.leaf) else {
            continue; // written by a later version in a way that this one does not know
        };
        if leaf.issued.expires.is_none_or(|expires| expires > now.unix_seconds()) {
            let origin = leaf.issued.origin.as_str().into();
            audit
                .origins()
                .keep(&leaf.issued.id, &origin, leaf.issued.expires, leaf.t);
        }
    }
    Ok(())
}

/// Keeps what is new, every now and then and once more at the end. `read`: as [`restore`] returned it.
pub(super) async fn keep(
    audit: Arc<Station>,
    ledger: Arc<Ledger>,
    store: Arc<Store>,
    mut read: u64,
    stop: CancellationToken,
) {
    let mut beat = tokio::time::interval(KEEP_EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let is_last = tokio::select! {
            _ = beat.tick() => false,
            () = stop.cancelled() => true,
        };
        // Before what is new is taken: a credential is in the table before its record is in the ledger.
        let size = ledger.durable().size;
        let new = audit.origins().take_new();
        if !new.is_empty() || size.saturating_sub(read) >= RECORDS_BETWEEN || is_last && size > read {
            let (store, now) = (Arc::clone(&store), audit.clock().read().wall);
            let rows: Vec<_> = new.iter().map(row).collect();
            let kept = tokio::task::spawn_blocking(move || store.keep_issued(&rows, size, MOST_ORIGINS, now)).await;
            match kept.map_err(anyhow::Error::from).and_then(|kept| Ok(kept?)) {
                Ok(()) => read = size,
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "who holds issued credentials could not be kept; it is tried again, and a start reads it from the ledger"
                    );
                    audit.origins().give_back(new);
                }
            }
        }
        if is_last {
            return;
        }
    }
}

fn row(origin: &Origin) -> IssuedCredential {
    IssuedCredential {
        id: origin.id.to_string(),
        origin: origin.origin.to_string(),
        until: origin.until,
    }
}

#[cfg(test)]
mod tests {
    use ledger::RealDisk;
    use proxy::audit::Limits;
    use proxy::clock::Clock;
    use state::{SealingKey, SealingKeys};

    use super::*;

    fn store() -> Arc<Store> {
        let keys = SealingKeys::new(SealingKey::new(&[7; 32]).unwrap(), vec![]);
        Arc::new(Store::in_memory(keys, state::Limits::default()).unwrap())
    }

    fn open(dir: &Path) -> (Arc<Ledger>, Arc<Station>) {
        let ledger = Ledger::open(dir, ledger::Options::default(), Arc::new(RealDisk::new(dir)))
            .unwrap()
            .0;
        let (ledger, (clock, _)) = (Arc::new(ledger), Clock::manual(1_000));
        let station = Station::new(Arc::clone(&ledger), clock, "boot".into(), Limits::default());
        (ledger, station)
    }

    fn remember(dir: &Path, size: u64, store: &Store, audit: &Station) -> anyhow::Result<u64> {
        let read = restore(size, store, audit)?;
        read_on((dir, None, &Foreign::default()), read, audit)?;
        Ok(read)
    }

    async fn issue(ledger: &Ledger, id: &str, origin: &str) {
        let t = Timestamp::from_unix_seconds(1);
        let issued = serde_json::json!({ "id": id, "origin": origin, "expires": 5_000 });
        let body = serde_json::json!({ "id": "r", "t": t, "issued": issued }).to_string();
        let ticket = ledger
            .append(RecordKind::Issued, body.into_bytes(), Vec::new())
            .unwrap();
        ticket.await.unwrap();
    }

    fn origin(audit: &Station, id: &str) -> Option<String> {
        audit.origins().of(id).map(|origin| origin.to_string())
    }

    #[tokio::test]
    async fn a_start_reads_only_the_records_after_those_that_the_store_stands_on() {
        let (folder, store) = (tempfile::tempdir().unwrap(), store());
        let (ledger, audit) = open(folder.path());
        issue(&ledger, "JTI=before", "alice").await;
        let now = Timestamp::EPOCH;
        store.keep_issued(&[], ledger.durable().size, 9, now).unwrap();
        issue(&ledger, "JTI=after", "bob").await;
        let read = remember(folder.path(), ledger.durable().size, &store, &audit).unwrap();
        assert_eq!(read + 1, ledger.durable().size);
        assert_eq!(origin(&audit, "JTI=after").as_deref(), Some("bob"));
        assert_eq!(origin(&audit, "JTI=before"), None, "counted as read, so it is not read");
    }

    #[tokio::test]
    async fn what_was_kept_is_there_after_a_start_with_no_record_to_read() {
        let (folder, store) = (tempfile::tempdir().unwrap(), store());
        let (ledger, audit) = open(folder.path());
        issue(&ledger, "JTI=a", "alice").await;
        let read = remember(folder.path(), ledger.durable().size, &store, &audit).unwrap();
        assert_eq!(read, 0);
        let stop = CancellationToken::new();
        stop.cancel();
        keep(audit, Arc::clone(&ledger), Arc::clone(&store), read, stop).await;
        drop(ledger);
        let (empty, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (ledger, audit) = open(empty.path());
        // As if that ledger had gone on: nothing to read, and still known.
        let read = remember(other.path(), u64::MAX, &store, &audit).unwrap();
        assert!(read > 0);
        assert_eq!(origin(&audit, "JTI=a").as_deref(), Some("alice"));
        drop(ledger);
    }

    #[tokio::test]
    async fn another_ledger_than_before_is_read_from_its_begin() {
        let (folder, store) = (tempfile::tempdir().unwrap(), store());
        let (ledger, audit) = open(folder.path());
        issue(&ledger, "JTI=a", "alice").await;
        store.keep_issued(&[], 1_000, 9, Timestamp::EPOCH).unwrap();
        let read = remember(folder.path(), ledger.durable().size, &store, &audit).unwrap();
        assert_eq!((read, origin(&audit, "JTI=a").as_deref()), (0, Some("alice")));
    }
}
