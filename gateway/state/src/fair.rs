//! Room in tables that strangers can write to: a source over its share loses its own oldest row, and when the whole
//! table is full the source that holds most loses its oldest. Nobody can push out another (promise 8).

use model::time::Timestamp;
use rusqlite::{Transaction, params};

use crate::StateError;

pub(crate) struct Room {
    pub(crate) table: &'static str,
    pub(crate) total: u32,
    pub(crate) per_source: u32,
}

pub(crate) fn make_room(
    transaction: &Transaction<'_>,
    room: &Room,
    source: &str,
    now: Timestamp,
) -> Result<(), StateError> {
    let table = room.table;
    transaction
        .prepare_cached(&format!("DELETE FROM {table} WHERE expires_at < ?1"))?
        .execute(params![now.unix_nanos()])?;
    let own: u32 = transaction
        .prepare_cached(&format!("SELECT count(*) FROM {table} WHERE source = ?1"))?
        .query_row(params![source], |row| row.get(0))?;
    if own >= room.per_source {
        return drop_oldest_of(transaction, table, source);
    }
    let all: u32 = transaction
        .prepare_cached(&format!("SELECT count(*) FROM {table}"))?
        .query_row([], |row| row.get(0))?;
    if all < room.total {
        return Ok(());
    }
    let greediest: String = transaction
        .prepare_cached(&format!(
            "SELECT source FROM {table} GROUP BY source ORDER BY count(*) DESC, max(created_at) DESC LIMIT 1"
        ))?
        .query_row([], |row| row.get(0))?;
    drop_oldest_of(transaction, table, &greediest)
}

fn drop_oldest_of(transaction: &Transaction<'_>, table: &str, source: &str) -> Result<(), StateError> {
    transaction
        .prepare_cached(&format!(
            "DELETE FROM {table} WHERE rowid = (SELECT rowid FROM {table} WHERE source = ?1 ORDER BY created_at LIMIT 1)"
        ))?
        .execute(params![source])?;
    Ok(())
}
