//! What the host's engines say they have, and how it stands with the issuers, for the control plane to show.

use super::heartbeat::HEARTBEAT_EVERY;
use crate::{
    dial::Guard,
    fetch::{FetchError, Fetcher},
    identify::{IssuerStatus, Issuers},
};
use attach_proto::v1;
use http::StatusCode;
use rustls::ClientConfig;
use serde::Deserialize;
use std::sync::Arc;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use url::Url;

/// Models of one engine that are told. A server with more has a directory, not a page.
const MAX_MODELS: usize = 1_000;

/// Where engines list their models: Ollama's own list, and the one of everybody else.
const LISTS: [&str; 2] = ["api/tags", "v1/models"];

/// Issuers that are told of, those in trouble first. With their texts they take half of what a heartbeat may.
const MAX_ISSUERS: usize = 50;

/// What it takes to look, and who answers what the control plane asks.
#[derive(Clone)]
pub(crate) struct Looks {
    pub(crate) engine_tls: Arc<ClientConfig>,
    pub(crate) issuers: Arc<Issuers>,
    pub(crate) questions: mpsc::Sender<Asked>,
}

/// A question of the control plane, and where the answer goes.
pub(crate) struct Asked {
    pub(crate) question: v1::Question,
    pub(crate) answer_to: mpsc::Sender<v1::FromAgent>,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) upstreams: Vec<v1::UpstreamHealth>,
    pub(super) issuers: Vec<v1::IssuerHealth>,
}

/// Looks as often as a heartbeat is sent.
pub(super) struct Health {
    upstreams: Vec<v1::Upstream>,
    looks: Looks,
    seen: watch::Sender<Seen>,
}

/// Both forms of a list of models.
#[derive(Deserialize)]
struct Listed {
    models: Option<Vec<Model>>,
    data: Option<Vec<Model>>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(alias = "id")]
    name: String,
}

impl Health {
    pub(super) fn of(upstreams: &[v1::Upstream], looks: Looks) -> Self {
        Self { upstreams: upstreams.to_vec(), looks, seen: watch::channel(Seen::default()).0 }
    }

    /// What was seen last; nothing before the first look.
    pub(super) fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    pub(super) async fn look_after(self) {
        // Engines are declared on their host.
        let fetcher = Fetcher::new(Arc::clone(&self.looks.engine_tls), Guard::Operator);
        loop {
            let mut upstreams = Vec::with_capacity(self.upstreams.len());
            for upstream in &self.upstreams {
                upstreams.push(look(upstream, &fetcher).await);
            }
            let issuers = self.looks.issuers.status_of(MAX_ISSUERS).into_iter().map(issuer).collect();
            self.seen.send_replace(Seen { upstreams, issuers });
            sleep(HEARTBEAT_EVERY).await;
        }
    }
}

fn issuer(status: IssuerStatus) -> v1::IssuerHealth {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    v1::IssuerHealth {
        issuer: status.issuer,
        source: status.source.unwrap_or_default(),
        keys: number(status.keys),
        skipped_keys: number(status.skipped_keys),
        fetched_at: status.last_fetch.map(attach_proto::timestamp),
        stale: status.stale,
        usable: status.usable,
        problem: status.last_error.unwrap_or_default(),
    }
}

async fn look(upstream: &v1::Upstream, fetcher: &Fetcher) -> v1::UpstreamHealth {
    let (models, problem) = match models(upstream, fetcher).await {
        Ok(models) => (models, String::new()),
        Err(problem) => (Vec::new(), problem),
    };
    v1::UpstreamHealth { upstream: upstream.id.clone(), models, problem }
}

async fn models(upstream: &v1::Upstream, fetcher: &Fetcher) -> Result<Vec<String>, String> {
    let mut problem = String::new();
    for list in LISTS {
        let url = format!("{}/{list}", upstream.url.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|error| error.to_string())?;
        match fetcher.fetch(&url).await {
            Ok(body) => return names(&body).ok_or_else(|| format!("{url}: is no list of models")),
            // The other list is another engine's.
            Err(error @ FetchError::Status(StatusCode::NOT_FOUND)) => problem = format!("{url}: {error}"),
            Err(error) => return Err(format!("{url}: {error}")),
        }
    }
    Err(problem)
}

fn names(body: &[u8]) -> Option<Vec<String>> {
    let Listed { models, data } = serde_json::from_slice(body).ok()?;
    Some(models.or(data)?.into_iter().map(|model| model.name).take(MAX_MODELS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_are_read_and_anything_else_is_none() {
        let ollama = br#"{"models":[{"name":"tiny:latest","model":"tiny:latest","size":1},{"name":"big"}]}"#;
        assert_eq!(names(ollama).unwrap(), ["tiny:latest", "big"]);
        let openai = br#"{"object":"list","data":[{"id":"tiny","object":"model"}]}"#;
        assert_eq!(names(openai).unwrap(), ["tiny"]);
        assert_eq!(names(b"[]"), None);
        assert_eq!(names(b"<html>"), None);
    }
}
