//! What makes a bundle be refused whole: of each rule one that keeps it, and its twin that differs in one field.

mod api_keys;
mod identity_providers;

use crate::{bundle::Bundle, v1};

/// Of the tenants `acme` and `globex`: `ok`, or what is wrong and where.
fn verdict(identity_providers: Vec<v1::IdentityProvider>, keys: Vec<v1::ApiKey>) -> String {
    let tenant =
        |id: &str| v1::Tenant { id: id.to_owned(), quota_store: "local".to_owned(), ..v1::Tenant::default() };
    let local = v1::quota_store::Store::Local(v1::LocalStore {});
    let bundle = v1::Bundle {
        tenants: vec![tenant("acme"), tenant("globex")],
        quota_stores: vec![v1::QuotaStore { id: "local".to_owned(), store: Some(local) }],
        identity_providers,
        keys,
        ..v1::Bundle::default()
    };
    Bundle::try_from(bundle).map_or_else(|invalid| invalid.to_string(), |_| "ok".to_owned())
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}
