//! Numbers that readers follow: taken in the writing transaction, so that who sees one has seen all before it.

use super::DbError;
use sqlx::PgConnection;

/// What a configuration change says when it has committed; whoever listens then looks what changed.
pub(crate) const CONFIG_CHANNEL: &str = "attach_config";

/// The number of this configuration change. Taken before anything else of the change: heads are taken in the order of
/// their ids, and this is the first.
pub(crate) async fn next_config(connection: &mut PgConnection) -> Result<i64, DbError> {
    let n = sqlx::query_scalar!("update head set n = n + 1 where id = 1 returning n")
        .fetch_one(&mut *connection)
        .await?;
    // Heard at the commit. Commits that notify wait for each other, which those behind one head do anyway.
    sqlx::query!("select pg_notify($1, '') as sent", CONFIG_CHANNEL).fetch_one(connection).await?;
    Ok(n)
}
