//! A tenant's name, and what holds when something of it is out of order.

use super::{
    super::{
        error::Failure,
        form::{Field, FormPage, Kind, Posted, Sent, Visitor, Wrong},
        page::see,
    },
    durability_text, open, outage_text,
};
use crate::{
    auth::Session,
    db::tenants,
    domain::{tenant::TenantChange, word::Word as _},
    ops::update_tenant,
    state::App,
};
use attach_proto::{
    bundle::{Durability, QuotaOutage},
    id::TenantId,
};
use axum::{
    extract::{Path, State},
    response::Response,
};

pub(in crate::console) async fn edit(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(tenant): Path<String>,
) -> Result<Response, Failure> {
    let (mut tx, _) = open(&app, &tenant).await?;
    let (connection, tenant) = tx.parts();
    let record = tenants::find(connection, tenant).await?.ok_or(Failure::NotFound("tenant"))?.tenant;
    let values = Sent::from_iter([
        ("name", record.name.as_str()),
        ("on_quota_outage", record.on_quota_outage.name()),
        ("durability", record.durability.name()),
    ]);
    Ok(form(&session, record.id.as_str(), &values, None))
}

fn form(session: &Session, tenant: &str, sent: &Sent, wrong: Option<Wrong>) -> Response {
    let fields = vec![
        Field::of(Kind::Text, "name", "Name", "As people know it.", sent),
        Field::of(
            Kind::one_of(outage_text),
            "on_quota_outage",
            "While the quota store does not answer",
            "",
            sent,
        ),
        Field::of(
            Kind::one_of(durability_text),
            "durability",
            "When usage can't be written to disk within a second",
            "",
            sent,
        ),
    ];
    let path = format!("/tenants/{tenant}");
    let action = format!("{path}/edit");
    let mut form = FormPage::new(session, "Tenants", "Change the tenant", &action, &path, fields);
    form.parent = Some((tenant.to_owned(), path));
    form.answer(wrong)
}

pub(in crate::console) async fn update(
    State(app): State<App>,
    Path(tenant): Path<String>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let id: TenantId = tenant.parse().map_err(|_| Failure::NotFound("tenant"))?;
    let change = TenantChange {
        name: Some(sent.text("name")),
        on_quota_outage: QuotaOutage::from_name(&sent.text("on_quota_outage")),
        durability: Durability::from_name(&sent.text("durability")),
        // On a page of its own.
        did: None,
    };
    match update_tenant(&app.db, &session.actor(), &id, &change).await {
        Ok(_) => Ok(see(&format!("/tenants/{id}"))),
        Err(error) => Ok(form(&session, &tenant, &sent, Some(Wrong::of(error)?))),
    }
}
