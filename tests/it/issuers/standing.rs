//! How a gateway says that it stands with an issuer.

use attach_tests::{Gateway, eventually};
use serde_json::Value;
use std::time::Duration;

/// An issuer that is back is asked within half a minute; on a busy machine later.
const PATIENCE: Duration = Duration::from_secs(60);

/// In `/readyz`, and the same in its metrics.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standing {
    pub(super) usable: bool,
    pub(super) stale: bool,
    pub(super) keys: u64,
    pub(super) error: Option<String>,
    pub(super) failed_fetches: u64,
    /// Of the keys. `None` where none were ever fetched.
    pub(super) age: Option<f64>,
}

/// Until it stands so.
pub(super) async fn until(
    gateway: &Gateway,
    issuer: &str,
    what: &str,
    is_so: impl Fn(&Standing) -> bool,
) -> Standing {
    eventually(what, PATIENCE, async || look(gateway, issuer).await.filter(&is_so)).await
}

/// `None` between two states: the two are not read at the same moment.
async fn look(gateway: &Gateway, issuer: &str) -> Option<Standing> {
    let metrics = gateway.admin().get("/metrics").await.text();
    let readiness = gateway.admin().send(http::Method::GET, "/readyz", "").await.whole().await.json();
    let is_it = |state: &&Value| state["issuer"] == issuer;
    let state = readiness["issuers"].as_array()?.iter().find(is_it).expect("the issuer is listed").clone();
    let metric = |name: &str, more: &str| {
        let start = format!("attach_issuer_{name}{{issuer=\"{issuer}\",source=\"\"{more}}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&start)?.parse::<f64>().ok())
    };
    let standing = Standing {
        usable: state["usable"].as_bool()?,
        stale: state["stale"].as_bool()?,
        keys: state["keys"].as_u64()?,
        error: state["error"].as_str().map(str::to_owned),
        failed_fetches: state["failed_fetches"].as_u64()?,
        age: metric("keys_age_seconds", ""),
    };
    let flag = |is_so: bool| Some(f64::from(u8::from(is_so)));
    let keys = f64::from(u32::try_from(standing.keys).expect("few keys"));
    let failed = f64::from(u32::try_from(standing.failed_fetches).expect("few fetches"));
    let agree = metric("usable", "") == flag(standing.usable)
        && metric("keys_stale", "") == flag(standing.stale)
        && metric("keys", "") == Some(keys)
        && metric("fetches_total", ",outcome=\"failed\"") == Some(failed);
    agree.then_some(standing)
}
