//! The authority and the signer out of the database, or made at the first start.

use super::{Authority, BundleSigner, bundle_signer::NoKey};
use crate::{
    db::{
        Database, DbError, audit,
        authorities::{self, AuthorityRecord, SigningKeyRecord},
    },
    domain::actor::Actor,
    seal::{SealError, Sealer},
};
use jiff::Timestamp;
use serde_json::json;

#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("the key of {id}: {source}")]
    Sealed { id: String, source: SealError },
    #[error("the key can't be sealed: {0}")]
    Seal(SealError),
    #[error("the authority {id}: {source}")]
    Authority { id: String, source: rcgen::Error },
    #[error("the authority can't be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error("the key that signs bundles {0}")]
    Signer(#[from] NoKey),
}

/// Of several control planes that start on an empty database one makes them, and all have the same.
pub(crate) async fn load_or_make(
    db: &Database,
    sealer: &Sealer,
    now: Timestamp,
) -> Result<(Authority, BundleSigner), LoadError> {
    let mut tx = db.operator().await?;
    let connection = tx.connection();
    authorities::lock(connection).await?;
    let authority = match authorities::authorities(connection).await?.into_iter().next() {
        Some(record) => restore(record, sealer)?,
        None => {
            let (authority, key) = Authority::make(now)?;
            let id = hex(&authority.sha256());
            let record = AuthorityRecord {
                sealed_key: sealer.seal(&purpose_of_authority(&id), &key).map_err(LoadError::Seal)?,
                certificate: authority.certificate().to_vec(),
                not_after: authority.not_after(),
                id,
            };
            authorities::insert_authority(connection, &record).await?;
            append(connection, "create_authority", &record.id).await?;
            authority
        }
    };
    let signer = match authorities::signing_keys(connection).await?.into_iter().next() {
        Some(SigningKeyRecord { id, sealed_key, .. }) => {
            let key = open(sealer, &purpose_of_signer(&id), &id, &sealed_key)?;
            BundleSigner::restore(id, &key)?
        }
        None => {
            let (signer, key) = BundleSigner::make()?;
            let public = signer.public();
            let record = SigningKeyRecord {
                sealed_key: sealer.seal(&purpose_of_signer(&public.key_id), &key).map_err(LoadError::Seal)?,
                id: public.key_id,
                public_key: public.public_key,
            };
            authorities::insert_signing_key(connection, &record).await?;
            append(connection, "create_signing_key", &record.id).await?;
            signer
        }
    };
    tx.commit().await?;
    Ok((authority, signer))
}

fn restore(record: AuthorityRecord, sealer: &Sealer) -> Result<Authority, LoadError> {
    let AuthorityRecord { id, certificate, sealed_key, not_after } = record;
    let key = open(sealer, &purpose_of_authority(&id), &id, &sealed_key)?;
    Authority::restore(certificate, &key, not_after).map_err(|source| LoadError::Authority { id, source })
}

fn open(sealer: &Sealer, purpose: &str, id: &str, sealed: &str) -> Result<Vec<u8>, LoadError> {
    sealer.open(purpose, sealed).map_err(|source| LoadError::Sealed { id: id.to_owned(), source })
}

async fn append(
    connection: &mut sqlx::PgConnection,
    action: &'static str,
    target: &str,
) -> Result<(), DbError> {
    let entry = audit::Entry { actor: &Actor::System, tenant: None, action, target, detail: json!({}) };
    audit::append(connection, entry).await
}

fn purpose_of_authority(id: &str) -> String {
    format!("authority/{id}")
}

fn purpose_of_signer(id: &str) -> String {
    format!("signing_key/{id}")
}

fn hex(hash: &[u8; 32]) -> String {
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
