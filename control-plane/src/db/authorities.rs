//! Who signs: the authority of certificates, and the keys of bundles. Private keys are sealed before they come here.

use super::DbError;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

#[derive(Debug)]
pub(crate) struct AuthorityRecord {
    pub(crate) id: String,
    /// X.509, DER.
    pub(crate) certificate: Vec<u8>,
    /// PKCS #8.
    pub(crate) sealed_key: String,
    pub(crate) not_after: Timestamp,
}

#[derive(Debug)]
pub(crate) struct SigningKeyRecord {
    pub(crate) id: String,
    /// Ed25519.
    pub(crate) public_key: Vec<u8>,
    /// PKCS #8.
    pub(crate) sealed_key: String,
}

/// Holds other starts of a control plane off until the transaction ends, so that one of them makes the first authority.
pub(crate) async fn lock(connection: &mut PgConnection) -> Result<(), DbError> {
    /// Any number that no other lock of this database has.
    const LOCK: i64 = 0x6174_7461_6368;
    sqlx::query!(r#"select pg_advisory_xact_lock($1)::text as "nothing""#, LOCK)
        .fetch_one(connection)
        .await?;
    Ok(())
}

/// The newest first: it signs, and the others are still believed.
pub(crate) async fn authorities(connection: &mut PgConnection) -> Result<Vec<AuthorityRecord>, DbError> {
    let rows = sqlx::query!(
        r#"select id, certificate, sealed_key, not_after as "not_after: jiff_sqlx::Timestamp"
           from authority order by created_at desc, id"#
    )
    .fetch_all(connection)
    .await?;
    let records = rows.into_iter().map(|row| AuthorityRecord {
        id: row.id,
        certificate: row.certificate,
        sealed_key: row.sealed_key,
        not_after: row.not_after.to_jiff(),
    });
    Ok(records.collect())
}

pub(crate) async fn insert_authority(
    connection: &mut PgConnection,
    record: &AuthorityRecord,
) -> Result<(), DbError> {
    sqlx::query!(
        "insert into authority (id, certificate, sealed_key, not_after, created_at) values ($1, $2, $3, $4, now())",
        record.id,
        record.certificate,
        record.sealed_key,
        record.not_after.to_sqlx() as jiff_sqlx::Timestamp,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The newest first, as above.
pub(crate) async fn signing_keys(connection: &mut PgConnection) -> Result<Vec<SigningKeyRecord>, DbError> {
    let rows = sqlx::query_as!(
        SigningKeyRecord,
        "select id, public_key, sealed_key from signing_key order by created_at desc, id"
    )
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

pub(crate) async fn insert_signing_key(
    connection: &mut PgConnection,
    record: &SigningKeyRecord,
) -> Result<(), DbError> {
    sqlx::query!(
        "insert into signing_key (id, public_key, sealed_key, created_at) values ($1, $2, $3, now())",
        record.id,
        record.public_key,
        record.sealed_key,
    )
    .execute(connection)
    .await?;
    Ok(())
}
