//! A tenant's identity providers: a new one, one that changes, the end of one. The tenant's own page lists them.

use super::{
    error::Failure,
    form::{Field, FormPage, Posted, Question, Sent, Visitor, Wrong},
    page::see,
    tenants::{self, TenantView},
};
use crate::{
    auth::Session,
    db::identity_providers,
    ops::{remove_identity_provider, set_identity_provider},
    state::App,
};
use attach_proto::{
    id::{IdentityProviderId, TenantId},
    v1,
};
use axum::{
    extract::{Path, State},
    response::Response,
};

/// The form's values: a provider's, what somebody sent, or those of a new one.
#[derive(Default)]
struct Values {
    id: String,
    issuer: String,
    audiences: String,
    user: String,
    groups: String,
}

impl From<v1::IdentityProvider> for Values {
    fn from(provider: v1::IdentityProvider) -> Self {
        let claims = provider.claims.unwrap_or_default();
        Self {
            id: provider.id,
            issuer: provider.issuer,
            audiences: provider.audiences.join(", "),
            user: claims.user,
            groups: claims.groups,
        }
    }
}

impl From<&Sent> for Values {
    fn from(sent: &Sent) -> Self {
        Self {
            id: sent.text("id"),
            issuer: sent.text("issuer"),
            audiences: sent.text("audiences"),
            user: sent.text("user"),
            groups: sent.text("groups"),
        }
    }
}

fn form(
    session: &Session,
    tenant: &TenantView,
    existing: Option<&str>,
    values: Values,
    wrong: Option<Wrong>,
) -> Response {
    let mut fields = vec![
        Field::text(
            "issuer",
            "Issuer",
            "As “iss” in its tokens has it, such as https://login.example.com/",
            values.issuer,
        ),
        Field::text(
            "audiences",
            "Audiences",
            "With commas between. An issuer and audience lead to one tenant.",
            values.audiences,
        ),
        Field::text(
            "user",
            "Claim of the user",
            "A JSON Pointer. Without a word what the product has, which is mostly /sub.",
            values.user,
        ),
        Field::text(
            "groups",
            "Claim of the groups",
            "A JSON Pointer. Without a word what the product has, which is mostly /groups.",
            values.groups,
        ),
    ];
    let list = format!("{}/providers", tenant.path());
    let (title, action) = match existing {
        Some(id) => (format!("Change the identity provider {id}"), format!("{list}/{id}")),
        None => {
            let hint = "Letters, digits and . _ - : @; it never changes.";
            fields.insert(0, Field::text("id", "Id", hint, values.id));
            ("New identity provider".to_owned(), list)
        }
    };
    let back = tenant.path();
    let mut form = FormPage::new(session, "Tenants", title, &action, &back, fields);
    form.parent = Some((tenant.name.clone(), back));
    form.text = "Callers then present access tokens of this issuer. Its keys are found through its metadata.";
    form.button = "Save the identity provider";
    form.answer(wrong)
}

pub(super) async fn new(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(tenant): Path<String>,
) -> Result<Response, Failure> {
    let (_, view) = tenants::open(&app, &tenant).await?;
    Ok(form(&session, &view, None, Values::default(), None))
}

pub(super) async fn edit(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let (view, provider) = find(&app, &tenant, &id).await?;
    let provider = provider.ok_or(Failure::NotFound("identity provider"))?;
    Ok(form(&session, &view, Some(&id), Values::from(provider), None))
}

async fn find(
    app: &App,
    tenant: &str,
    id: &str,
) -> Result<(TenantView, Option<v1::IdentityProvider>), Failure> {
    let (mut tx, view) = tenants::open(app, tenant).await?;
    let (connection, tenant) = tx.parts();
    let found = match id.parse::<IdentityProviderId>() {
        Ok(id) => identity_providers::find(connection, tenant, &id).await?,
        Err(_) => None,
    };
    Ok((view, found))
}

pub(super) async fn create(
    State(app): State<App>,
    Path(tenant): Path<String>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let id = sent.text("id");
    let (view, found) = find(&app, &tenant, &id).await?;
    if found.is_some() {
        let wrong = Wrong::new("id", "is taken: there is such an identity provider already");
        return Ok(form(&session, &view, None, Values::from(&sent), Some(wrong)));
    }
    save(&app, &session, &view, (&id, None), &sent).await
}

pub(super) async fn update(
    State(app): State<App>,
    Path((tenant, id)): Path<(String, String)>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let (view, found) = find(&app, &tenant, &id).await?;
    let found = found.ok_or(Failure::NotFound("identity provider"))?;
    save(&app, &session, &view, (&id, Some(&found)), &sent).await
}

async fn save(
    app: &App,
    session: &Session,
    tenant: &TenantView,
    (id, existing): (&str, Option<&v1::IdentityProvider>),
    sent: &Sent,
) -> Result<Response, Failure> {
    let said = asked(&tenant.id, id, existing, sent);
    let wrong = match set_identity_provider(&app.db, &session.actor(), said).await {
        Ok(()) => return Ok(see(&tenant.path())),
        Err(error) => Wrong::of(error)?,
    };
    Ok(form(session, tenant, existing.map(|_| id), Values::from(sent), Some(wrong)))
}

/// What the form does not show stays as it was.
fn asked(
    tenant: &str,
    id: &str,
    existing: Option<&v1::IdentityProvider>,
    sent: &Sent,
) -> v1::IdentityProvider {
    let before = existing.cloned().unwrap_or_default();
    v1::IdentityProvider {
        id: id.to_owned(),
        tenant: tenant.to_owned(),
        issuer: sent.text("issuer"),
        audiences: sent.list("audiences"),
        claims: Some(v1::ClaimMapping {
            user: sent.text("user"),
            groups: sent.text("groups"),
            ..before.claims.unwrap_or_default()
        }),
        ..before
    }
}

pub(super) async fn ask_remove(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let (view, found) = find(&app, &tenant, &id).await?;
    let found = found.ok_or(Failure::NotFound("identity provider"))?;
    let question = Question {
        title: format!("Remove the identity provider {id}?"),
        text: format!("Tokens of {} are refused within a second.", found.issuer),
        action: format!("{}/providers/{id}/remove", view.path()),
        button: "Remove the identity provider",
        back: view.path(),
    };
    Ok(question.page(&session, "Tenants"))
}

pub(super) async fn remove(
    State(app): State<App>,
    Path((tenant, id)): Path<(String, String)>,
    Posted { session, .. }: Posted,
) -> Result<Response, Failure> {
    let tenant: TenantId = tenant.parse().map_err(|_| Failure::NotFound("tenant"))?;
    let id = id.parse().map_err(|_| Failure::NotFound("identity provider"))?;
    remove_identity_provider(&app.db, &session.actor(), &tenant, &id).await?;
    Ok(see(&format!("/tenants/{tenant}")))
}
