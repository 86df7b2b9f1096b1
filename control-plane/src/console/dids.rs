//! A tenant's DIDs: which of them call for it without an identity provider, and what their proofs must keep.

use super::{
    error::Failure,
    form::{Field, FormPage, Group, Kind, Posted, Question, Sent, Visitor, Wrong},
    page::{duration, see},
    tenants::{self, TenantView},
};
use crate::{
    auth::Session,
    domain::tenant::TenantChange,
    ops::{OpError, update_tenant},
    state::App,
};
use attach_proto::{
    did::{Did, DidPolicy},
    id::TenantId,
    v1,
};
use axum::{
    extract::{Path, State},
    response::Response,
};
use std::time::Duration;

const RULES: [(&str, &str); 2] = [
    ("one_time", "each proof serves one request, at each gateway that it is sent to"),
    ("web", "a did:web may be among them: gateways then fetch its document"),
];

/// What a policy means, in a sentence.
pub(super) fn meaning(policy: &DidPolicy) -> String {
    let DidPolicy { allowed, audiences, max_lifetime, one_time, domains: _ } = policy;
    let named = match allowed.listed.len() {
        0 => None,
        1 => Some("one DID by name".to_owned()),
        many => Some(format!("{many} DIDs by name")),
    };
    let any = allowed.any.then(|| "every did:key and did:pkh that proves itself".to_owned());
    let who: Vec<_> = any.into_iter().chain(named).collect();
    let once = if *one_time { ", each for one request" } else { "" };
    format!(
        "Callers are {}. Their proofs name {} and are good for at most {}{once}.",
        who.join(", and "),
        audiences.join(" or "),
        duration(max_lifetime.as_secs())
    )
}

fn shown(policy: &DidPolicy) -> Sent {
    let wire = v1::DidPolicy::from(policy);
    // Those that come from the audiences go on coming from them.
    let derived = DidPolicy::try_from(v1::DidPolicy { domains: Vec::new(), ..wire.clone() });
    let domains = match derived {
        Ok(derived) if derived.domains == policy.domains => String::new(),
        Ok(_) | Err(_) => policy.domains.join("\n"),
    };
    let fields = [
        ("allowed", wire.allowed.join("\n")),
        ("audiences", wire.audiences.join("\n")),
        ("max_lifetime", policy.max_lifetime.as_secs().to_string()),
        ("domains", domains),
    ];
    let rules = [(policy.one_time, "one_time"), (policy.allowed.listed.iter().any(Did::is_web), "web")];
    let rules = rules.into_iter().filter(|(holds, _)| *holds).map(|(_, rule)| ("rules", rule.to_owned()));
    fields.into_iter().chain(rules).collect()
}

fn form(session: &Session, tenant: &TenantView, sent: &Sent, wrong: Option<Wrong>) -> Response {
    let fields = vec![
        Field::of(
            Kind::Lines,
            "allowed",
            "Allowed",
            "A DID on each line, or * for every did:key and did:pkh that proves itself.",
            sent,
        ),
        Field::of(
            Kind::Lines,
            "audiences",
            "Audiences",
            "What their proofs name, such as the gateway's address; one on each line.",
            sent,
        ),
        Field::of(
            Kind::Number,
            "max_lifetime",
            "Longest life of a proof, in seconds",
            "Empty for an hour; a day (86400) at most.",
            sent,
        ),
        Field::of(Kind::Boxes(RULES.to_vec()), "rules", "Rules", "", sent),
    ];
    let path = tenant.path();
    let action = format!("{path}/dids");
    let mut form = FormPage::new(session, "Tenants", "Who calls by a DID", &action, &path, fields);
    form.parent = Some((tenant.name.clone(), path));
    form.text = "A caller with a key of its own needs no identity provider: its DID is its name, and it proves it with each \
                 request. Its usage is the tenant's.";
    let domains = Field::of(
        Kind::Lines,
        "domains",
        "Domains",
        "A host on each line, with its port where that is not the usual. Those of the audiences when empty.",
        sent,
    );
    let text = "A wallet shows where it is asked to sign; what was signed for elsewhere is refused.";
    form.groups = vec![Group::new("Where wallets may have signed", text, vec![domains])];
    form.button = "Save who calls";
    form.answer(wrong)
}

pub(super) async fn edit(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(tenant): Path<String>,
) -> Result<Response, Failure> {
    let (_, view) = tenants::open(&app, &tenant).await?;
    let sent = view.did.as_ref().map(shown).unwrap_or_default();
    Ok(form(&session, &view, &sent, None))
}

pub(super) async fn update(
    State(app): State<App>,
    Path(tenant): Path<String>,
    Posted { session, sent }: Posted,
) -> Result<Response, Failure> {
    let (tx, view) = tenants::open(&app, &tenant).await?;
    drop(tx);
    let wrong = match asked(&sent) {
        Ok(policy) => match set(&app, &session, &tenant, Some(policy)).await {
            Ok(()) => return Ok(see(&view.path())),
            // What is wrong with the policy as a whole is who may call by it.
            Err(OpError::Invalid { field: "did", problem }) => Wrong::new("allowed", problem),
            Err(error) => Wrong::of(error)?,
        },
        Err(wrong) => wrong,
    };
    Ok(form(&session, &view, &sent, Some(wrong)))
}

fn asked(sent: &Sent) -> Result<DidPolicy, Wrong> {
    let rules = sent.chosen("rules");
    if rules.iter().any(|rule| RULES.iter().all(|(known, _)| known != rule)) {
        return Err(Wrong::not_one_of_these("rules"));
    }
    let max_lifetime =
        sent.number("max_lifetime")?.map(|seconds| attach_proto::duration(Duration::from_secs(seconds)));
    let wire = v1::DidPolicy {
        allowed: sent.lines("allowed"),
        audiences: sent.lines("audiences"),
        max_lifetime,
        one_time: rules.contains(&"one_time"),
        web: rules.contains(&"web"),
        domains: sent.lines("domains"),
    };
    DidPolicy::try_from(wire).map_err(Wrong::from)
}

async fn set(app: &App, session: &Session, tenant: &str, did: Option<DidPolicy>) -> Result<(), OpError> {
    let id: TenantId = tenant.parse().map_err(|_| OpError::NotFound("tenant"))?;
    let change = TenantChange { did: Some(did), ..TenantChange::default() };
    update_tenant(&app.db, &session.actor(), &id, &change).await?;
    Ok(())
}

/// A tenant whose callers may come by a DID.
async fn open(app: &App, tenant: &str) -> Result<TenantView, Failure> {
    let (_, view) = tenants::open(app, tenant).await?;
    if view.did.is_none() {
        return Err(Failure::NotFound("list of DIDs"));
    }
    Ok(view)
}

pub(super) async fn ask_remove(
    Visitor(session): Visitor,
    State(app): State<App>,
    Path(tenant): Path<String>,
) -> Result<Response, Failure> {
    let view = open(&app, &tenant).await?;
    let question = Question {
        title: "Let nobody call by a DID?".to_owned(),
        text: "Callers without a key or an identity provider are refused within a second.".to_owned(),
        action: format!("{}/dids/remove", view.path()),
        button: "Let nobody call by a DID",
        back: view.path(),
    };
    Ok(question.page(&session, "Tenants"))
}

pub(super) async fn remove(
    State(app): State<App>,
    Path(tenant): Path<String>,
    Posted { session, .. }: Posted,
) -> Result<Response, Failure> {
    let view = open(&app, &tenant).await?;
    set(&app, &session, &tenant, None).await?;
    Ok(see(&view.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allowed: &[&str], domains: &[&str]) -> DidPolicy {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let wire = v1::DidPolicy {
            allowed: texts(allowed),
            audiences: texts(&["https://llm.example", "api"]),
            web: true,
            one_time: true,
            domains: texts(domains),
            ..v1::DidPolicy::default()
        };
        DidPolicy::try_from(wire).unwrap()
    }

    #[test]
    fn a_policy_is_told_in_a_sentence() {
        let told = meaning(&policy(&["*", "did:web:a.example"], &[]));
        let expected = "Callers are every did:key and did:pkh that proves itself, and one DID by name. Their proofs name \
                        https://llm.example or api and are good for at most 1 hour, each for one request.";
        assert_eq!(told, expected);
        assert!(
            meaning(&policy(&["did:web:a.example", "did:web:b.example"], &[]))
                .contains("are 2 DIDs by name.")
        );
    }

    #[test]
    fn what_the_form_shows_comes_back_as_it_was_and_domains_go_on_coming_from_the_audiences() {
        for (allowed, domains) in [(&["*"][..], &[][..]), (&["did:web:a.example"], &["wallet.example:8443"])]
        {
            let before = policy(allowed, domains);
            let sent = shown(&before);
            assert_eq!(asked(&sent).unwrap(), before);
            assert_eq!(sent.lines("domains"), domains);
        }
    }
}
