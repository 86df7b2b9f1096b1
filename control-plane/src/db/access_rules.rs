//! Who may do what.

use super::DbError;
use crate::domain::{
    page::{Page, Part},
    word::Word as _,
};
use attach_proto::{
    bundle::{AccessRule, Permission},
    id::{AccessRuleId, TenantId},
};
use sqlx::PgConnection;

/// In the order of their ids.
pub(crate) async fn list(
    connection: &mut PgConnection,
    tenant: &TenantId,
    page: &Page<String>,
) -> Result<Part<AccessRule>, DbError> {
    let rows = sqlx::query!(
        "select id, principals, groups, roles, scopes, models, permissions from access_rule
         where tenant_id = $1 and ($2::text is null or id > $2) order by id limit $3",
        tenant.as_str(),
        page.after.as_deref(),
        page.rows(),
    )
    .fetch_all(connection)
    .await?;
    let rules = rows.into_iter().map(|row| {
        let corrupt = || DbError::corrupt("access_rule", &row.id);
        Ok(AccessRule {
            id: row.id.parse().map_err(|_| corrupt())?,
            tenant: tenant.clone(),
            principals: row.principals,
            groups: row.groups,
            roles: row.roles,
            scopes: row.scopes,
            models: row
                .models
                .iter()
                .map(|name| name.parse().map_err(|_| corrupt()))
                .collect::<Result<_, _>>()?,
            permissions: row
                .permissions
                .iter()
                .map(|name| Permission::from_name(name).ok_or_else(corrupt))
                .collect::<Result<_, _>>()?,
        })
    });
    Ok(page.part(rules.collect::<Result<_, DbError>>()?))
}

/// Makes the rule, or replaces the one of its id.
pub(crate) async fn put(
    connection: &mut PgConnection,
    rule: &AccessRule,
    version: i64,
) -> Result<(), DbError> {
    let AccessRule { id, tenant, principals, groups, roles, scopes, models, permissions } = rule;
    let models: Vec<String> = models.iter().map(ToString::to_string).collect();
    let permissions: Vec<String> = permissions.iter().map(|of| of.name().to_owned()).collect();
    sqlx::query!(
        "insert into access_rule (tenant_id, id, principals, groups, roles, scopes, models, permissions, version)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (tenant_id, id) do update set
             principals = excluded.principals, groups = excluded.groups, roles = excluded.roles,
             scopes = excluded.scopes, models = excluded.models, permissions = excluded.permissions,
             version = excluded.version",
        tenant.as_str(),
        id.as_str(),
        principals,
        groups,
        roles,
        scopes,
        &models,
        &permissions,
        version,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether there was such a rule.
pub(crate) async fn remove(
    connection: &mut PgConnection,
    tenant: &TenantId,
    id: &AccessRuleId,
) -> Result<bool, DbError> {
    let removed = sqlx::query!(
        "delete from access_rule where tenant_id = $1 and id = $2",
        tenant.as_str(),
        id.as_str()
    )
    .execute(connection)
    .await?;
    Ok(removed.rows_affected() > 0)
}
