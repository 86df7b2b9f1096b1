//! The form of a provider. Issuer and audience are all that most need; the rest is folded.

use super::{
    super::{
        form::{Facts, Field, FormPage, Group, Kind, Sent, Wrong},
        tenants::TenantView,
    },
    words::{PRODUCTS, PROOFS, TOKEN_TYPES, names},
};
use crate::auth::Session;
use attach_proto::{FilledIn, Taken, bundle::Algorithm};
use axum::response::Response;

pub(super) struct ProviderForm<'a> {
    pub(super) tenant: &'a TenantView,
    /// The id of the one that changes; it stays.
    pub(super) existing: Option<&'a str>,
    pub(super) sent: &'a Sent,
    /// What it comes to.
    pub(super) taken: Option<Taken>,
    pub(super) wrong: Option<Wrong>,
}

impl ProviderForm<'_> {
    pub(super) fn page(self, session: &Session) -> Response {
        let Self { tenant, existing, sent, taken, wrong } = self;
        let mut fields = first(sent);
        let list = format!("{}/providers", tenant.path());
        let (title, action) = match existing {
            Some(id) => (format!("Change the identity provider {id}"), format!("{list}/{id}")),
            None => {
                fields.insert(0, Field::id(sent));
                ("New identity provider".to_owned(), list)
            }
        };
        let back = tenant.path();
        let mut form = FormPage::new(session, "Tenants", title, &action, &back, fields);
        form.parent = Some((tenant.name.clone(), back));
        form.text = "Callers then present access tokens of this issuer. Issuer and audience are enough for most: what \
                     else there is to say is filled in by the product.";
        form.groups = groups(sent);
        form.facts = taken.map(facts);
        form.button = "Save the identity provider";
        form.look = Some("Show what it comes to");
        form.answer(wrong)
    }
}

fn first(sent: &Sent) -> Vec<Field> {
    let products = names(&PRODUCTS);
    vec![
        Field::of(
            Kind::Text,
            "issuer",
            "Issuer",
            "As “iss” in its tokens has it, such as https://login.example.com/",
            sent,
        ),
        Field::of(
            Kind::Lines,
            "audiences",
            "Audiences",
            "One on each line. An issuer and audience lead to one tenant.",
            sent,
        ),
        Field::of(
            Kind::choice(&products),
            "product",
            "Product",
            "What its tokens are like, where nothing else is said.",
            sent,
        ),
    ]
}

fn groups(sent: &Sent) -> Vec<Group> {
    vec![
        Group::new("Which tokens are good", "What is left empty is as the product has it.", tokens(sent)),
        Group::new(
            "Who calls: where the token says it",
            "JSON Pointers such as /sub or /realm_access/roles; */roles is the claim roles in a namespace of its own. What \
             is left empty is as the product has it.",
            claims(sent),
        ),
        Group::new(
            "Tenants that share this issuer and audience",
            "Of an application for many organisations: each token then belongs to the tenant of its organisation.",
            organisations(sent),
        ),
        // Whether the control plane fetches them would stand here too.
        Group::new(
            "Where its keys are",
            "Found through the issuer's metadata when nothing is said here.",
            vec![
                Field::of(Kind::Text, "jwks_url", "Address of its key set", "", sent),
                Field::of(
                    Kind::Lines,
                    "jwks",
                    "Key set",
                    "A JSON Web Key Set. The issuer is not asked then: for hosts without a way out.",
                    sent,
                ),
            ],
        ),
    ]
}

fn tokens(sent: &Sent) -> Vec<Field> {
    let algorithms = Algorithm::ALL.iter().map(|algorithm| (algorithm.name(), algorithm.name())).collect();
    vec![
        Field::of(Kind::Boxes(algorithms), "algorithms", "Signed by", "", sent),
        Field::of(Kind::Boxes(names(&TOKEN_TYPES)), "token_types", "Types", "", sent),
        Field::of(
            Kind::Lines,
            "required_scopes",
            "Scopes that it must have",
            "One on each line; a token without one of them is answered 403.",
            sent,
        ),
        Field::of(
            Kind::Lines,
            "required_claims",
            "Claims that it must have",
            "One on each line: /email_verified = true, or /tier = gold, silver; without values it must only be there, and \
             with a ! before it, as in !/c_hash, it must not.",
            sent,
        ),
        Field::of(
            Kind::Lines,
            "clients",
            "Only of these clients",
            "One on each line, by azp, client_id, cid or appid; empty for all.",
            sent,
        ),
        Field::of(
            Kind::Number,
            "max_age",
            "Oldest, in seconds",
            "Since it was issued; empty for as long as it says itself.",
            sent,
        ),
        Field::of(
            Kind::Number,
            "clock_skew",
            "Clocks may differ by, in seconds",
            "Empty for 60; 600 at most.",
            sent,
        ),
        Field::of(
            Kind::Text,
            "audience_claim",
            "Where it names its audience",
            "A JSON Pointer, such as /client_id.",
            sent,
        ),
        Field::of(
            Kind::Boxes(names(&PROOFS)),
            "proofs",
            "Proofs that are checked",
            "A token that is bound to a key of its caller is refused, unless its proof is one of these.",
            sent,
        ),
    ]
}

fn claims(sent: &Sent) -> Vec<Field> {
    vec![
        Field::of(Kind::Text, "user", "User", "Whom usage is recorded for.", sent),
        Field::of(Kind::Text, "email", "E-mail", "", sent),
        Field::of(Kind::Text, "groups", "Groups", "", sent),
        Field::of(Kind::Text, "roles", "Roles", "", sent),
        Field::of(Kind::Text, "project", "Project", "None when empty.", sent),
        Field::of(Kind::Text, "cost_centre", "Cost centre", "None when empty.", sent),
        Field::of(Kind::Lines, "forwarded", "What the engine is told of a caller", "One on each line.", sent),
    ]
}

fn organisations(sent: &Sent) -> Vec<Field> {
    vec![
        Field::of(Kind::Text, "organisation", "Claim of the organisation", "Such as /org_id.", sent),
        Field::of(
            Kind::Lines,
            "organisations",
            "Organisations of this tenant",
            "Values of that claim, one on each line.",
            sent,
        ),
    ]
}

fn facts(taken: Taken) -> Facts {
    let title = match (taken.product, taken.is_by_address) {
        (Some(product), true) => format!("Known as {product}, by its address"),
        (Some(product), false) => format!("Taken as {product}, as you say"),
        (None, true) => "No product that is known by its address".to_owned(),
        (None, false) => "Taken as no known product, as you say".to_owned(),
    };
    let label = |of: FilledIn| (label(of.field), of.value);
    Facts {
        title,
        text: "What is not said below is filled in:",
        facts: taken.filled_in.into_iter().map(label).collect(),
    }
}

fn label(field: &'static str) -> &'static str {
    match field {
        "token_types" => "Good are",
        "algorithms" => "Signed by",
        "audience_claim" => "Audience from",
        "required_claims" => "Must have",
        "clock_skew" => "Clocks may differ by",
        "claims.user" => "User from",
        "claims.email" => "E-mail from",
        "claims.groups" => "Groups from",
        "claims.roles" => "Roles from",
        "claims.organisation" => "Organisation from",
        other => other,
    }
}
