//! The audit trail: a chain in which each entry holds the hash of the one before.

use super::DbError;
use crate::domain::{
    actor::Actor,
    page::{Page, Part},
    tenant::AuditRecord,
};
use attach_proto::id::TenantId;
use jiff_sqlx::Timestamp;
use serde_json::Value;
use sqlx::PgConnection;

/// What an operation did. Written in its own transaction: what is not on record did not happen.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) actor: &'a Actor,
    /// `None` for what concerns no tenant.
    pub(crate) tenant: Option<&'a TenantId>,
    /// The operation's name, such as `issue_key`.
    pub(crate) action: &'static str,
    pub(crate) target: &'a str,
    /// Never a secret.
    pub(crate) detail: Value,
}

/// To be called last in a transaction: until it commits, nobody else writes an entry.
pub(crate) async fn append(connection: &mut PgConnection, entry: Entry<'_>) -> Result<(), DbError> {
    let Entry { actor, tenant, action, target, detail } = entry;
    let last = sqlx::query!(r#"select n, hash as "hash!" from head where id = 2 for update"#)
        .fetch_one(&mut *connection)
        .await?;
    sqlx::query!(
        "with entry as (
             insert into audit_entry (n, at, tenant_id, actor_kind, actor, action, target, detail, previous_hash, hash)
             select n, at, tenant_id, actor_kind, actor, action, target, detail, previous_hash,
                 sha256(previous_hash || convert_to(jsonb_build_array(
                     n, extract(epoch from at), tenant_id, actor_kind, actor, action, target, detail)::text, 'UTF8'))
             from (values ($1::bigint, now(), $2::text, $3::text, $4::text, $5::text, $6::text, $7::jsonb, $8::bytea))
                 as new (n, at, tenant_id, actor_kind, actor, action, target, detail, previous_hash)
             returning n, hash
         )
         update head set n = entry.n, hash = entry.hash from entry where head.id = 2",
        last.n + 1,
        tenant.map(TenantId::as_str),
        actor.kind(),
        actor.name(),
        action,
        target,
        detail,
        last.hash,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The last first; of one tenant when one is named.
pub(crate) async fn list(
    connection: &mut PgConnection,
    tenant: Option<&TenantId>,
    page: &Page<i64>,
) -> Result<Part<AuditRecord>, DbError> {
    let rows = sqlx::query!(
        r#"select n, at as "at: Timestamp", tenant_id, actor_kind, actor, action, target, detail from audit_entry
           where ($1::text is null or tenant_id = $1) and ($2::bigint is null or n < $2) order by n desc limit $3"#,
        tenant.map(TenantId::as_str),
        page.after,
        page.rows(),
    )
    .fetch_all(connection)
    .await?;
    let entries = rows.into_iter().map(|row| AuditRecord {
        n: row.n,
        at: row.at.to_jiff(),
        tenant: row.tenant_id,
        actor_kind: row.actor_kind,
        actor: row.actor,
        action: row.action,
        target: row.target,
        detail: row.detail,
    });
    Ok(page.part(entries.collect()))
}

/// The number of the first entry that is not as it was written, or behind which one is missing.
pub(crate) async fn first_broken(connection: &mut PgConnection) -> Result<Option<i64>, DbError> {
    let broken = sqlx::query_scalar!(
        r#"with chain as (
               select *, lag(hash, 1, sha256('')) over (order by n) as hash_before, lag(n, 1, 0) over (order by n) as n_before
               from audit_entry
           ), broken as (
               select n from chain
               where n <> n_before + 1 or previous_hash <> hash_before
                   or hash <> sha256(previous_hash || convert_to(jsonb_build_array(
                       n, extract(epoch from at), tenant_id, actor_kind, actor, action, target, detail)::text, 'UTF8'))
               union all
               -- Entries missing at the end.
               select head.n from head
               where head.id = 2 and not exists (select from audit_entry last where last.n = head.n and last.hash = head.hash)
                   and head.n > 0
           )
           select min(n) from broken"#
    )
    .fetch_one(connection)
    .await?;
    Ok(broken)
}
