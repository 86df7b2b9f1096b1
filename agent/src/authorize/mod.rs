//! May this caller do that? Pure, without waiting for anything, and in two steps: principal × permission → [`Permit`]
//! before the body is read, and permit × ask × snapshot → [`Grant`] after it.

mod pin;

use crate::{
    ask::{Ask, Operation, Upload},
    identify::{KeyBounds, Principal},
    snapshot::{Engine, Snapshot},
};
use attach_proto::{
    bundle::{AccessRule, Model, Permission},
    id::ModelName,
};
use std::{rc::Rc, sync::Arc};

/// Evidence that this caller may do such a thing at all; to which model, its body says. Only [`permit`] makes one.
#[derive(Debug)]
pub(crate) struct Permit {
    principal: Rc<Principal>,
    permission: Permission,
}

/// Evidence that this caller may do what it asks for. Only [`authorize`] makes one.
#[derive(Debug)]
pub(crate) struct Grant {
    principal: Rc<Principal>,
    /// Boxed, because each stage hands it on.
    ask: Box<Ask>,
    model: Option<GrantedModel>,
    /// The one that it goes to, when no model leads to one.
    pinned: Option<Arc<Engine>>,
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
    /// The permission is for certain models, and the request names none.
    NoModel,
    /// There is no engine that it could go to, of this name where the caller gave one.
    NoUpstream(Option<String>),
    /// There are several, and nobody said which.
    WhichUpstream,
}

impl Grant {
    pub(crate) fn principal(&self) -> &Rc<Principal> {
        &self.principal
    }

    pub(crate) fn ask(&self) -> &Ask {
        &self.ask
    }

    pub(crate) fn pinned(&self) -> Option<&Arc<Engine>> {
        self.pinned.as_ref()
    }

    pub(crate) fn take_upload(&mut self) -> Option<Upload> {
        self.ask.take_upload()
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

/// Whether any rule gives the permission, for whichever model.
pub(crate) fn permit(
    principal: Rc<Principal>,
    permission: Permission,
    snapshot: &Snapshot,
) -> Result<Permit, Forbidden> {
    match verdict(&principal, permission, None, snapshot) {
        Verdict::Granted | Verdict::ModelMissing => Ok(Permit { principal, permission }),
        Verdict::PermissionMissing => Err(Forbidden::Permission(permission)),
    }
}

pub(crate) fn authorize(permit: Permit, ask: Box<Ask>, snapshot: Arc<Snapshot>) -> Result<Grant, Forbidden> {
    let Permit { principal, permission } = permit;
    let allows = |model: Option<&str>| match verdict(&principal, permission, model, &snapshot) {
        Verdict::Granted => Ok(()),
        Verdict::ModelMissing => {
            Err(model.map_or(Forbidden::NoModel, |name| Forbidden::Model(name.to_owned())))
        }
        Verdict::PermissionMissing => Err(Forbidden::Permission(permission)),
    };
    let Some(asked) = ask.model() else {
        if is_about_no_model(ask.route().operation) {
            return Ok(Grant { principal, ask, model: None, pinned: None, snapshot });
        }
        allows(None)?;
        let pinned = Some(pin::pin(&ask, &snapshot)?);
        return Ok(Grant { principal, ask, model: None, pinned, snapshot });
    };
    if ask.route().asks_a_model() {
        let model = resolve(asked, &principal, &snapshot)?;
        allows(Some(model.canonical.as_str()))?;
        return Ok(Grant { principal, ask, model: Some(model), pinned: None, snapshot });
    }
    for model in ask.models() {
        allows(Some(&model.canonical()))?;
    }
    // The engine's own names, of models that it need not have.
    let canonical = asked.canonical().parse().map_err(|_| Forbidden::UnknownModel(asked.to_string()))?;
    let pinned = Some(pin::pin(&ask, &snapshot)?);
    Ok(Grant { principal, ask, model: Some(GrantedModel { canonical, declared: None }), pinned, snapshot })
}

/// Lists of models and the engine's state: whoever may read may have them, whichever models the rule is for.
fn is_about_no_model(operation: Operation) -> bool {
    matches!(operation, Operation::Models | Operation::Status)
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

/// Whether a caller has a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    ForAllModels,
    ForSomeModels,
    NotAtAll,
}

pub(crate) fn reach(principal: &Principal, permission: Permission, snapshot: &Snapshot) -> Reach {
    match verdict(principal, permission, None, snapshot) {
        Verdict::Granted => Reach::ForAllModels,
        Verdict::ModelMissing => Reach::ForSomeModels,
        Verdict::PermissionMissing => Reach::NotAtAll,
    }
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

/// From the mildest to the strictest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Granted,
    /// A rule gives the permission, but for other models.
    ModelMissing,
    PermissionMissing,
}

fn verdict(
    principal: &Principal,
    permission: Permission,
    model: Option<&str>,
    snapshot: &Snapshot,
) -> Verdict {
    let granted = granted(principal, permission, model, snapshot);
    match &principal.bounds {
        None => granted,
        Some(bounds) => within(bounds, permission, model).max(granted),
    }
}

/// What a key's own bounds refuse, whatever the rules grant to its holder.
fn within(bounds: &KeyBounds, permission: Permission, model: Option<&str>) -> Verdict {
    if !bounds.permissions.contains(&permission) {
        return Verdict::PermissionMissing;
    }
    if covers(&bounds.models, model) { Verdict::Granted } else { Verdict::ModelMissing }
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
        if covers(&rule.models, model) {
            return Verdict::Granted;
        }
        verdict = Verdict::ModelMissing;
    }
    verdict
}

/// An empty list covers all; one that names models does not cover what is about none.
fn covers(models: &[ModelName], model: Option<&str>) -> bool {
    models.is_empty() || model.is_some_and(|model| models.iter().any(|allowed| allowed.canonical() == model))
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
