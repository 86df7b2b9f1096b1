//! A provider as the contract has it, to and from the form.

use super::{
    super::form::{Sent, Wrong},
    words::{PRODUCTS, PROOFS, TOKEN_TYPES, name, word},
};
use attach_proto::v1::{ClaimMapping, IdentityProvider, RequiredClaim};
use std::time::Duration;

/// As the form shows it.
pub(super) fn shown(provider: &IdentityProvider) -> Sent {
    let claims = provider.claims.clone().unwrap_or_default();
    let seconds =
        |of: Option<&pbjson_types::Duration>| of.map(|of| of.seconds.to_string()).unwrap_or_default();
    let fields = [
        ("issuer", provider.issuer.clone()),
        ("audiences", provider.audiences.join("\n")),
        ("product", name(&PRODUCTS, provider.product).unwrap_or_default().to_owned()),
        ("audience_claim", provider.audience_claim.clone()),
        ("required_scopes", provider.required_scopes.join("\n")),
        ("required_claims", written(&provider.required_claims)),
        ("clients", provider.clients.join("\n")),
        ("max_age", seconds(provider.max_age.as_ref())),
        ("clock_skew", seconds(provider.clock_skew.as_ref())),
        ("user", claims.user),
        ("email", claims.email),
        ("groups", claims.groups),
        ("roles", claims.roles),
        ("project", claims.project),
        ("cost_centre", claims.cost_centre),
        ("forwarded", claims.forwarded.join("\n")),
        ("organisation", claims.organisation),
        ("organisations", provider.organisations.join("\n")),
        ("jwks_url", provider.jwks_url.clone()),
        ("jwks", provider.jwks.clone()),
    ];
    let algorithms = provider.algorithms.iter().map(|algorithm| ("algorithms", algorithm.clone()));
    let types = provider.token_types.iter().filter_map(|of| name(&TOKEN_TYPES, *of));
    let types = types.map(|of| ("token_types", of.to_owned()));
    let proofs = provider.proofs.iter().filter_map(|of| name(&PROOFS, *of));
    let proofs = proofs.map(|of| ("proofs", of.to_owned()));
    fields.into_iter().chain(algorithms).chain(types).chain(proofs).collect()
}

/// What somebody asks for. What the form does not show stays as it was `before`.
pub(super) fn asked(before: IdentityProvider, sent: &Sent) -> Result<IdentityProvider, Wrong> {
    let product = word(&PRODUCTS, &sent.text("product"));
    let product = product.ok_or_else(|| Wrong::not_one_of_these("product"))?;
    let chosen = |field, is_known: &dyn Fn(&str) -> Option<i32>| {
        let all = sent.chosen(field).into_iter();
        all.map(|of| is_known(of).ok_or_else(|| Wrong::not_one_of_these(field))).collect::<Result<_, _>>()
    };
    Ok(IdentityProvider {
        issuer: sent.text("issuer"),
        audiences: sent.lines("audiences"),
        product: product.into(),
        algorithms: sent.chosen("algorithms").into_iter().map(str::to_owned).collect(),
        token_types: chosen("token_types", &|of| word(&TOKEN_TYPES, of).map(Into::into))?,
        proofs: chosen("proofs", &|of| word(&PROOFS, of).map(Into::into))?,
        audience_claim: sent.text("audience_claim"),
        required_scopes: sent.lines("required_scopes"),
        required_claims: required(&before.required_claims, &sent.text("required_claims"))?,
        clients: sent.lines("clients"),
        max_age: seconds(sent, "max_age")?,
        clock_skew: seconds(sent, "clock_skew")?,
        claims: Some(ClaimMapping {
            user: sent.text("user"),
            email: sent.text("email"),
            groups: sent.text("groups"),
            roles: sent.text("roles"),
            project: sent.text("project"),
            cost_centre: sent.text("cost_centre"),
            forwarded: sent.lines("forwarded"),
            organisation: sent.text("organisation"),
        }),
        organisations: sent.lines("organisations"),
        jwks_url: sent.text("jwks_url"),
        jwks: sent.text("jwks"),
        ..before
    })
}

fn seconds(sent: &Sent, field: &str) -> Result<Option<pbjson_types::Duration>, Wrong> {
    let Some(seconds) = sent.number(field)? else { return Ok(None) };
    let seconds = u32::try_from(seconds).map_err(|_| Wrong::new(field, "must be at most 366 days"))?;
    Ok(Some(Duration::from_secs(seconds.into()).into()))
}

/// Before a claim that a token must not have. No path of a claim begins with it.
const NOT: char = '!';

/// A line for each: its claim, and what it may be, if only some values are good.
fn written(required: &[RequiredClaim]) -> String {
    let line = |RequiredClaim { claim, any_of, absent }: &RequiredClaim| match (absent, any_of.as_slice()) {
        (true, _) => format!("{NOT}{claim}"),
        (false, []) => claim.clone(),
        (false, any_of) => format!("{claim} = {}", any_of.join(", ")),
    };
    required.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A value with a comma can't be written on a line; as long as nobody touches them, they are what they were.
fn required(before: &[RequiredClaim], text: &str) -> Result<Vec<RequiredClaim>, Wrong> {
    if text == written(before).trim() {
        return Ok(before.to_vec());
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let required = lines.map(|line| {
        let (claim, values) =
            line.split_once('=').map_or((line, None), |(claim, values)| (claim, Some(values)));
        let (claim, absent) = claim.strip_prefix(NOT).map_or((claim, false), |claim| (claim, true));
        let any_of = values.unwrap_or_default().split(',').map(str::trim).filter(|value| !value.is_empty());
        let any_of: Vec<_> = any_of.map(str::to_owned).collect();
        // Less than was meant to be asked for would be asked.
        if values.is_some() && any_of.is_empty() {
            let problem = format!("has a line without a value behind its sign: {line}");
            return Err(Wrong::new("required_claims", problem));
        }
        Ok(RequiredClaim { claim: claim.trim().to_owned(), any_of, absent })
    });
    required.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use attach_proto::v1::{IdentityProduct, Proof, TokenType};

    fn full() -> IdentityProvider {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        IdentityProvider {
            id: "login".to_owned(),
            tenant: "acme".to_owned(),
            issuer: "https://login.example/".to_owned(),
            audiences: texts(&["api", "urn:a,b"]),
            algorithms: texts(&["ES256", "EdDSA"]),
            clock_skew: Some(Duration::from_secs(5).into()),
            claims: Some(ClaimMapping {
                user: "/uid".to_owned(),
                groups: "/g".to_owned(),
                project: "/p".to_owned(),
                forwarded: texts(&["/a", "/b"]),
                email: "/mail".to_owned(),
                roles: "*/roles".to_owned(),
                organisation: "/org".to_owned(),
                cost_centre: "/cc".to_owned(),
            }),
            product: IdentityProduct::Auth0.into(),
            token_types: vec![TokenType::AtJwt.into(), TokenType::Id.into()],
            required_scopes: texts(&["chat", "read"]),
            required_claims: vec![
                RequiredClaim { claim: "/there".to_owned(), ..RequiredClaim::default() },
                RequiredClaim { claim: "/gone".to_owned(), absent: true, ..RequiredClaim::default() },
                RequiredClaim { claim: "/org".to_owned(), any_of: texts(&["Acme, Inc", "b"]), absent: false },
            ],
            max_age: Some(Duration::from_secs(3600).into()),
            proofs: vec![Proof::Dpop.into(), Proof::Certificate.into()],
            jwks: "{\"keys\":\n [{}]}".to_owned(),
            organisations: texts(&["Acme, Inc", "b"]),
            clients: texts(&["web"]),
            audience_claim: "/client_id".to_owned(),
            ..IdentityProvider::default()
        }
    }

    #[test]
    fn what_the_form_shows_comes_back_as_it_was() {
        for provider in
            [full(), IdentityProvider { jwks_url: "https://x/".to_owned(), ..IdentityProvider::default() }]
        {
            let claims = Some(provider.claims.clone().unwrap_or_default());
            let before = IdentityProvider { claims, ..provider };
            assert_eq!(asked(before.clone(), &shown(&before)).unwrap(), before);
        }
    }

    #[test]
    fn each_field_of_the_form_reaches_the_provider() {
        let empty = IdentityProvider {
            id: "login".to_owned(),
            tenant: "acme".to_owned(),
            ..IdentityProvider::default()
        };
        let plain = IdentityProvider { required_claims: full().required_claims[..2].to_vec(), ..full() };
        assert_eq!(asked(empty, &shown(&plain)).unwrap(), plain);
    }

    #[test]
    fn a_required_claim_is_a_line_with_its_values_behind_a_sign() {
        let lines = required(&[], " /a \n\n/b=x , y,\n/c = true\n! /d").unwrap();
        assert!(required(&[], "/email_verified = ,").unwrap_err().problem.contains("without a value"));
        let texts: Vec<_> =
            lines.iter().map(|of| (of.claim.as_str(), of.any_of.join("|"), of.absent)).collect();
        let expected = [("/a", "", false), ("/b", "x|y", false), ("/c", "true", false), ("/d", "", true)];
        assert_eq!(texts, expected.map(|(claim, any_of, absent)| (claim, any_of.to_owned(), absent)));
    }
}
