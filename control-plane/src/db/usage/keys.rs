//! When keys were used last.

use crate::db::DbError;
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// Whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UsedKey<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) key: &'a str,
}

/// With the time of each, in seconds since the Unix epoch. One that was written less than a minute before is left alone, so
/// that a busy key is written once a minute. In the order of the keys, so that two batches never wait for each other in a
/// circle.
pub(crate) async fn note_use(
    connection: &mut PgConnection,
    uses: &BTreeMap<UsedKey<'_>, i64>,
) -> Result<(), DbError> {
    if uses.is_empty() {
        return Ok(());
    }
    let tenants: Vec<&str> = uses.keys().map(|used| used.tenant).collect();
    let keys: Vec<&str> = uses.keys().map(|used| used.key).collect();
    let times: Vec<i64> = uses.values().copied().collect();
    // Looked for first: where there is nothing to write, `on conflict` would lock the row all the same, which is a write.
    sqlx::query!(
        "insert into key_use (tenant_id, key_id, last_used_at)
         select tenant_id, key_id, to_timestamp(at)
         from unnest($1::text[], $2::text[], $3::bigint[]) as used (tenant_id, key_id, at)
         where not exists (
             select from key_use known
             where known.tenant_id = used.tenant_id and known.key_id = used.key_id
                 and known.last_used_at > to_timestamp(at) - interval '1 minute')
         on conflict (tenant_id, key_id) do update set last_used_at = excluded.last_used_at
             where key_use.last_used_at < excluded.last_used_at",
        &tenants as &[&str],
        &keys as &[&str],
        &times,
    )
    .execute(connection)
    .await?;
    Ok(())
}
