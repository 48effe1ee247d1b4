//! This gateway as a witness of other ledgers (C2SP tlog-witness), such as those of its replicas: what `gatescribe ledger witness` is as a program of its own, on a
//! listener of its own. Nothing of a gateway is reachable there, and nobody who asks is known or has to be: a cosignature says only that one history was shown.
//!
//! Key and memory lie in the data folder, `keys/witness.key` and `witness`, and belong together: without its memory a witness would cosign a second history. So a
//! gateway whose memory is gone does not start, as such a program does not.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use console::GatewayUrl;
use ledger::note::{Signer as _, SigningKey, VerifierKey};
use ledger::witness::{WhenForgotten, Witness};
use ledger::{Disk, RealDisk};

use super::data::{self, DataDir};
use super::now;
use crate::config::Config;
use crate::ledger_command::witness::{Counts, Front, key, marker};

/// What was cosigned, in the data folder.
const MEMORY: &str = "witness";

/// The witness, and what it counts.
pub(super) struct Witnessing {
    pub(super) front: Arc<Front>,
    pub(super) counts: Arc<Counts>,
}

/// Opens the witness of the configured logs; `None` where there is none. `own` are the keys of the ledger here.
///
/// # Errors
/// Its key or its memory cannot be had, or believed; or it is to witness itself.
pub(super) fn begin(
    config: &Config,
    data: &DataDir,
    url: &GatewayUrl,
    own: &[VerifierKey],
) -> anyhow::Result<Option<Witnessing>> {
    let logs: Vec<VerifierKey> = config
        .ledger
        .witness_for
        .iter()
        .map(|log| log.parse().with_context(|| format!("`{log}` is no public key")))
        .collect::<Result<_, _>>()?;
    let file = data.at(data::WITNESS_KEY);
    if logs.is_empty() {
        if let Some(key) = left_key(&file)? {
            tracing::warn!(
                key,
                file = %file.display(),
                "`ledger.witnessFor` names nobody, and the key with which this gateway witnessed other ledgers is still here: they are not cosigned any more. \
                 Take this gateway out of their `ledger.witnesses`, or name them again; if it is to witness nobody, move the key, its `.begun` and `witness` away together"
            );
        }
        return Ok(None);
    }
    if let Some(itself) = logs.iter().find(|log| own.iter().any(|own| own.name() == log.name())) {
        bail!(
            "`{}` is the ledger of this very gateway: who has its disk would have the cosignatures, too. Name those of others in `ledger.witnessFor`",
            itself.short()
        );
    }
    let memory = data.at(MEMORY);
    let name = match data::read_key(&file)? {
        Some(_) => None,
        None => Some(data::named(url, "witness")?),
    };
    let marker = marker(&file);
    let key = key(&file, name.as_deref(), &memory, &marker)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(&memory));
    let witness = Witness::open(
        &disk,
        &marker,
        Arc::new(key),
        logs,
        Arc::new(now),
        WhenForgotten::Refuse,
    )?;
    let witness = Arc::new(witness);
    tracing::info!(key = %witness.key(), "this gateway witnesses other ledgers: their gateways and verifiers need this public key");
    for ((log, known), key) in witness.known().into_iter().zip(witness.newest_keys()) {
        tracing::info!(log, known, key = %key, "this ledger is witnessed; so many of its records were cosigned");
    }
    let counts = Arc::new(Counts::new(Arc::clone(&witness), now));
    let front = Arc::new(Front::new(witness, Arc::clone(&counts), now));
    Ok(Some(Witnessing { front, counts }))
}

/// The witness's key that an earlier configuration left, in short; `None` where there is none.
///
/// # Errors
/// It cannot be read.
fn left_key(file: &Path) -> anyhow::Result<Option<String>> {
    let Some(bytes) = data::read_key(file)? else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes).ok();
    let key = text.and_then(|text| text.trim_end().parse::<SigningKey>().ok());
    // One that cannot be read is told of, too: nobody uses it.
    Ok(Some(
        key.map_or_else(|| "(unreadable)".to_owned(), |key| key.key().short()),
    ))
}
