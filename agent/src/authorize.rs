//! May this caller do that? Pure: principal × ask × snapshot → [`Grant`], without waiting for anything.

use crate::{
    ask::Ask,
    identify::{KeyBounds, Principal},
    snapshot::Snapshot,
};
use attach_proto::{
    bundle::{AccessRule, Model, Permission},
    id::ModelName,
};
use std::{rc::Rc, sync::Arc};

/// Evidence that this caller may do what it asks for. Only [`authorize`] makes one.
#[derive(Debug)]
pub(crate) struct Grant {
    principal: Rc<Principal>,
    /// Boxed, because each stage hands it on.
    ask: Box<Ask>,
    model: Option<GrantedModel>,
    snapshot: Arc<Snapshot>,
}

/// The model that was asked for, under the one name that limits and permissions go by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GrantedModel {
    pub(crate) canonical: ModelName,
    /// What the bundle says of it; `None` when the bundle has no models and names pass through.
    pub(crate) declared: Option<Arc<Model>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Forbidden {
    Permission(Permission),
    Model(String),
    /// The bundle has models, and this is none of them (or none of this tenant's).
    UnknownModel(String),
}

impl Grant {
    pub(crate) fn principal(&self) -> &Rc<Principal> {
        &self.principal
    }

    pub(crate) fn ask(&self) -> &Ask {
        &self.ask
    }

    /// The engine has the body; nobody needs it any more.
    pub(crate) fn forget_body(&mut self) {
        self.ask.forget_body();
    }

    pub(crate) fn model(&self) -> Option<&GrantedModel> {
        self.model.as_ref()
    }

    /// The bundle that this request is served by, from here to its end.
    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }
}

pub(crate) fn authorize(
    principal: Rc<Principal>,
    ask: Box<Ask>,
    snapshot: Arc<Snapshot>,
) -> Result<Grant, Forbidden> {
    let model = match ask.model() {
        Some(model) => Some(resolve(model, &principal, &snapshot)?),
        None => None,
    };
    let permission = ask.route().operation.permission();
    let canonical = model.as_ref().map(|model| model.canonical.as_str());
    match verdict(&principal, permission, canonical, &snapshot) {
        Verdict::Granted => Ok(Grant { principal, ask, model, snapshot }),
        Verdict::ModelMissing => Err(Forbidden::Model(canonical.unwrap_or_default().to_owned())),
        Verdict::PermissionMissing => Err(Forbidden::Permission(permission)),
    }
}

/// The bundle's models that this caller may use and an engine of this host has, for the lists of models.
pub(crate) fn visible_models<'a>(
    principal: &'a Principal,
    snapshot: &'a Snapshot,
) -> impl Iterator<Item = &'a Model> {
    snapshot.bundle().models.iter().filter(|model| {
        let served = model.tenants.is_empty() || model.tenants.contains(&principal.tenant);
        let is_here = model.targets.iter().any(|target| snapshot.engine(&target.upstream).is_some());
        let name = model.name.canonical();
        served
            && is_here
            && verdict(principal, Permission::Inference, Some(&name), snapshot) == Verdict::Granted
    })
}

fn resolve(asked: &ModelName, principal: &Principal, snapshot: &Snapshot) -> Result<GrantedModel, Forbidden> {
    let unknown = || Forbidden::UnknownModel(asked.to_string());
    if snapshot.bundle().models.is_empty() {
        let canonical = asked.canonical().parse().map_err(|_| unknown())?;
        return Ok(GrantedModel { canonical, declared: None });
    }
    let model = snapshot.model(asked).ok_or_else(unknown)?;
    if !model.tenants.is_empty() && !model.tenants.contains(&principal.tenant) {
        return Err(unknown());
    }
    let canonical = model.name.canonical().parse().map_err(|_| unknown())?;
    Ok(GrantedModel { canonical, declared: Some(Arc::clone(model)) })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Granted,
    /// A rule gives the permission, but not for this model.
    ModelMissing,
    PermissionMissing,
}

fn verdict(
    principal: &Principal,
    permission: Permission,
    model: Option<&str>,
    snapshot: &Snapshot,
) -> Verdict {
    match &principal.bounds {
        None => granted(principal, permission, model, snapshot),
        Some(bounds) => within(bounds, permission, model)
            .unwrap_or_else(|| granted(principal, permission, model, snapshot)),
    }
}

/// What a key's own bounds refuse, whatever the rules grant to its holder.
fn within(bounds: &KeyBounds, permission: Permission, model: Option<&str>) -> Option<Verdict> {
    if !bounds.permissions.contains(&permission) {
        return Some(Verdict::PermissionMissing);
    }
    (!bounds.models.is_empty() && !covers(&bounds.models, model)).then_some(Verdict::ModelMissing)
}

fn granted(
    principal: &Principal,
    permission: Permission,
    model: Option<&str>,
    snapshot: &Snapshot,
) -> Verdict {
    let mut rules = snapshot.access_rules(&principal.tenant).peekable();
    if rules.peek().is_none() {
        let by_default = permission != Permission::Admin;
        return if by_default { Verdict::Granted } else { Verdict::PermissionMissing };
    }
    let mut verdict = Verdict::PermissionMissing;
    for rule in rules.filter(|rule| is_about(rule, principal) && rule.permissions.contains(&permission)) {
        if rule.models.is_empty() || covers(&rule.models, model) {
            return Verdict::Granted;
        }
        verdict = Verdict::ModelMissing;
    }
    verdict
}

/// A request about no model is covered by whatever models are named.
fn covers(models: &[ModelName], model: Option<&str>) -> bool {
    model.is_none_or(|model| models.iter().any(|allowed| allowed.canonical() == model))
}

fn is_about(rule: &AccessRule, principal: &Principal) -> bool {
    let has_any = |wanted: &[String], held: &[String]| {
        wanted.is_empty() || wanted.iter().any(|wanted| held.contains(wanted))
    };
    matches_any(&rule.principals, &rule.groups, principal)
        && has_any(&rule.roles, &principal.roles)
        && has_any(&rule.scopes, &principal.scopes)
}

/// Empty lists match everyone; lists that are given must both match.
pub(crate) fn matches_any(principals: &[String], groups: &[String], principal: &Principal) -> bool {
    let by_name = principals.is_empty() || principals.contains(&principal.subject);
    let by_group = groups.is_empty() || groups.iter().any(|group| principal.groups.contains(group));
    by_name && by_group
}
