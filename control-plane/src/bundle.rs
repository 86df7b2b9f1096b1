//! What the agents of a pool are to serve: built once for each change, and shared by all their streams.

use crate::{
    authority::BundleSigner,
    db::{
        Database, DbError,
        configuration::{self as rows, Row, StoreRow},
    },
    seal::{SealError, Sealer},
};
use attach_proto::{
    id::{PoolId, Revision},
    resources::{Resource, ResourceName, Resources},
    v1::{self, ResourceKind},
};
use prost::Message;
use std::time::Duration;

/// A revision of a pool's configuration.
#[derive(Debug)]
pub(crate) struct PoolBundle {
    pub(crate) revision: Revision,
    pub(crate) resources: Resources,
    pub(crate) manifest: v1::Manifest,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("there is no pool {0}")]
    NoPool(PoolId),
    #[error("the address of the quota store {id}: {source}")]
    Sealed { id: String, source: SealError },
}

/// Reads all of it as of one moment.
pub(crate) async fn build(
    db: &Database,
    sealer: &Sealer,
    signer: &BundleSigner,
    pool: &PoolId,
) -> Result<PoolBundle, BuildError> {
    let mut tx = db.snapshot().await?;
    let connection = tx.connection();
    let revision = rows::revisions(connection, &[pool.as_str().to_owned()]).await?;
    let Some((_, revision)) = revision.into_iter().next() else {
        return Err(BuildError::NoPool(pool.clone()));
    };
    let mut resources = Resources::default();
    insert(&mut resources, rows::tenants(connection, pool).await?);
    for row in rows::quota_stores(connection, pool).await? {
        let row = quota_store(row, sealer)?;
        insert(&mut resources, vec![row]);
    }
    insert(&mut resources, rows::identity_providers(connection, pool).await?);
    insert(&mut resources, rows::api_keys(connection, pool).await?);
    insert(&mut resources, rows::models(connection, pool).await?);
    insert(&mut resources, rows::limits(connection, pool).await?);
    insert(&mut resources, rows::access_rules(connection, pool).await?);
    insert(&mut resources, rows::routes(connection, pool).await?.into_iter().collect());
    tx.commit().await?;
    let revision = Revision(revision);
    let manifest = signer.sign(&resources.manifest_head(pool, revision));
    Ok(PoolBundle { revision, resources, manifest })
}

fn insert<M: Message>(resources: &mut Resources, rows: Vec<Row<M>>) {
    for Row { name, version, message } in rows {
        resources.insert(name, Resource::new(version, message.encode_to_vec().into()));
    }
}

/// What a quota store's address is sealed for.
pub(crate) fn purpose_of_store(id: &str) -> String {
    format!("quota_store/{id}")
}

fn quota_store(row: StoreRow, sealer: &Sealer) -> Result<Row<v1::QuotaStore>, BuildError> {
    let StoreRow { id, version, sealed_url, call_budget_ms } = row;
    let store = match sealed_url {
        None => v1::quota_store::Store::Local(v1::LocalStore {}),
        Some(sealed) => {
            let url = sealer
                .open(&purpose_of_store(&id), &sealed)
                .and_then(|url| String::from_utf8(url).map_err(|_| SealError::Form));
            let url = url.map_err(|source| BuildError::Sealed { id: id.clone(), source })?;
            let budget = call_budget_ms.map(|ms| Duration::from_millis(ms.unsigned_abs().into()));
            v1::quota_store::Store::Redis(v1::RedisStore {
                url,
                call_budget: budget.map(attach_proto::duration),
            })
        }
    };
    Ok(Row {
        name: ResourceName::global(ResourceKind::QuotaStore, id.as_str()),
        version,
        message: v1::QuotaStore { id, store: Some(store) },
    })
}
