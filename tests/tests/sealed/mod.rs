//! What stands sealed beside records, opened with the keys that the data folder keeps, for stories that look at what was written.

use anyhow::Context as _;
use proxy::audit::{Class, PartKey, open_part};
use serde_json::Value;
use tests::gateway::Gateway;

/// One opened part.
#[derive(Debug)]
pub struct Opened {
    /// The record that it stands beside.
    pub leaf: Value,
    /// What sort it is.
    pub class: Class,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// All parts of these classes in the ledger, in its order.
///
/// # Errors
/// A part is missing, or is not what its record says, or its key is gone.
pub fn opened(gateway: &Gateway, classes: &[Class]) -> anyhow::Result<Vec<Opened>> {
    let data = gateway.folder().join("data");
    let seal = <[u8; 32]>::try_from(std::fs::read(data.join("keys/seal"))?).map_err(|_| anyhow::anyhow!("32 bytes"))?;
    let keys = state::SealingKeys::new(state::SealingKey::new(&seal).context("a key")?, Vec::new());
    let store = state::Store::open(&data.join("state.sqlite"), keys, state::Limits::default())?;
    let mut subjects = std::collections::HashMap::new();
    let mut found = Vec::new();
    for record in ledger::Reader::open(&gateway.ledger())?.records_from(0) {
        let record = record?;
        let leaf: Value = serde_json::from_slice(&record.leaf)?;
        let id = leaf["id"].as_str().unwrap_or_default().to_owned();
        if let Some(subject) = leaf["by"]["id"].as_str() {
            subjects.entry(id.clone()).or_insert_with(|| subject.to_owned());
        }
        let parts = leaf["parts"].as_array().cloned().unwrap_or_default();
        anyhow::ensure!(parts.len() == record.parts.len(), "{leaf}");
        for (part, sealed) in parts.iter().zip(&record.parts) {
            let Some(class) = classes.iter().copied().find(|class| part["class"] == class.name()) else {
                continue;
            };
            let subject = subjects.get(&id).with_context(|| format!("the subject of {leaf}"))?;
            let key = store.find_part_key(subject, class.name())?.context("a key")?;
            anyhow::ensure!(part["key"] == *key.id, "{leaf}");
            let key = PartKey::new(&key.id, &key.bytes).context("a key")?;
            let commitment = part["commitment"].as_str().context("a commitment")?;
            let bytes = open_part(&key, &id, class, commitment, sealed).context("the part opens")?;
            let leaf = leaf.clone();
            found.push(Opened { leaf, class, bytes });
        }
    }
    Ok(found)
}
