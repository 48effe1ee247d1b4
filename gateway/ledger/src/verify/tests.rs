//! Forgeries, each found where it was made; and what is no forgery is left in peace.

use std::path::Path;
use std::sync::Arc;

use model::event::RecordKind;

use super::*;
use crate::disk::Disk;
use crate::sim::{SimDisk, Tampering, tamper_rounds};
use crate::{Ledger, Options};

#[test]
fn every_kind_of_forgery_is_found_where_it_was_made() {
    let kinds = u64::try_from(Tampering::ALL.len()).unwrap();
    let report = tamper_rounds(7, kinds * 12);
    assert_eq!(report.first_failure, None);
    assert_eq!(report.false_alarms, 0);
    assert!(report.kinds.values().all(|[rounds, ..]| *rounds == 12));
}

#[test]
fn a_ledger_without_a_trusted_key_is_not_proved() {
    let disk = SimDisk::new(1);
    let options = Options {
        probe_every: std::time::Duration::MAX,
        ..Options::default()
    };
    let (ledger, _) = Ledger::open_by_hand(Path::new("l"), options, Arc::new(disk.clone())).unwrap();
    let ticket = ledger
        .append(RecordKind::Access, b"{\"id\":\"x\"}".to_vec(), Vec::new())
        .unwrap();
    ledger.drive();
    assert!(ticket.result().is_some());
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let report = verify(&disk, &Trust::default(), 2, &|_| {}).unwrap();
    assert_eq!(
        (report.findings.len(), report.records, report.is_proved()),
        (0, 1, false)
    );
}
