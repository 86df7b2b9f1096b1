//! Prometheus metrics.
//!
//! Labels that a caller chooses (its name, the model's) are counted in a table with a cap, not in the registry's
//! families, which would grow without end.

mod control_plane;
mod issuers;
mod tls;

use crate::{
    clock::Clock,
    control_plane::Standing,
    identify::{Issuers, Principal},
    refusal::Refusal,
    tls::TlsStanding,
};
use attach_proto::{
    id::{KeyId, ModelName, TenantId},
    usage::{MeasuredQuantity, PrincipalKind, UsageEvent},
};
use control_plane::ControlPlaneCollector;
use foldhash::{HashMap, HashMapExt as _};
use issuers::IssuerCollector;
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, text::encode},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::Gauge,
        histogram::Histogram,
        info::Info,
    },
    registry::Registry,
};
use std::{borrow::Cow, fmt, sync::Arc};
use tls::TlsCollector;

/// Series of tokens by user and model. A thousand users with ten models each, at some hundred bytes; beyond it, users
/// are counted together as `other`.
const MAX_USAGE_SERIES: usize = 10_000;
const OTHER: &str = "other";

/// Seconds. From an answer out of a cache to a long generation on a slow machine.
const DURATION_BUCKETS: [f64; 12] = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0];

pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    duration: Family<OperationLabels, Histogram>,
    first_byte: Family<OperationLabels, Histogram>,
    usage: Arc<UsageTable>,
    pub(crate) connections: Gauge,
    pub(crate) bundle_revision: Gauge,
    pub(crate) log_lines_dropped: Gauge,
    pub(crate) spool_stored: Gauge,
    pub(crate) spool_refused: Gauge,
    pub(crate) settlements_lost: Counter,
    pub(crate) events_lost: Counter,
    pub(crate) connections_refused: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: Cow<'static, str>,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    code: &'static str,
    blame: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: Cow<'static, str>,
}

impl Metrics {
    /// `standing`: how things stand with the control plane that the gateway belongs to. `tls`: with the listener.
    pub(crate) fn new(
        standing: Option<Arc<Standing>>,
        issuers: Arc<Issuers>,
        tls: Option<Arc<TlsStanding>>,
        clock: Clock,
    ) -> Self {
        let requests = Family::default();
        let refusals = Family::default();
        let histogram = || Histogram::new(DURATION_BUCKETS);
        let duration: Family<OperationLabels, Histogram> = Family::new_with_constructor(histogram);
        let first_byte: Family<OperationLabels, Histogram> = Family::new_with_constructor(histogram);
        let usage = Arc::new(UsageTable::default());
        let connections = Gauge::default();
        let bundle_revision = Gauge::default();
        let log_lines_dropped = Gauge::default();
        let spool_stored = Gauge::default();
        let spool_refused = Gauge::default();
        let settlements_lost = Counter::default();
        let events_lost = Counter::default();
        let connections_refused = Counter::default();

        let mut registry = Registry::with_prefix("attach");
        registry.register("requests", "Admitted requests by how they ended", Family::clone(&requests));
        registry.register(
            "refusals",
            "Refused requests by reason and by who can mend it",
            Family::clone(&refusals),
        );
        registry.register("request_duration_seconds", "From admission to the end", Family::clone(&duration));
        registry.register(
            "time_to_first_byte_seconds",
            "From admission to the head of the engine's answer",
            Family::clone(&first_byte),
        );
        registry.register("open_connections", "Connections of callers", connections.clone());
        registry.register(
            "connections_refused",
            "Connections of callers beyond the limits",
            connections_refused.clone(),
        );
        registry.register("bundle_revision", "Revision that is served", bundle_revision.clone());
        registry.register(
            "log_lines_dropped",
            "Lines of the access log that found no room",
            log_lines_dropped.clone(),
        );
        registry.register(
            "spool_stored_events",
            "Usage events made durable since the start",
            spool_stored.clone(),
        );
        registry.register(
            "spool_refused_events",
            "Usage events that could not be made durable",
            spool_refused.clone(),
        );
        registry.register(
            "usage_events_lost",
            "Usage events that the spool's queue had no room for",
            events_lost.clone(),
        );
        registry.register(
            "quota_settlements_lost",
            "Reservations that lapse by themselves, because the quota store was away for too long",
            settlements_lost.clone(),
        );
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The program", Info::new(version));
        registry.register_collector(Box::new(UsageCollector(Arc::clone(&usage))));
        registry.register_collector(Box::new(ControlPlaneCollector::new(standing, clock.clone())));
        registry.register_collector(Box::new(IssuerCollector { issuers, clock }));
        if let Some(tls) = tls {
            registry.register_collector(Box::new(TlsCollector(tls)));
        }
        Self {
            registry,
            requests,
            refusals,
            duration,
            first_byte,
            usage,
            connections,
            bundle_revision,
            log_lines_dropped,
            spool_stored,
            spool_refused,
            settlements_lost,
            events_lost,
            connections_refused,
        }
    }

    pub(crate) fn settled(&self, event: &UsageEvent, is_metered: bool) {
        let operation = event.operation.clone();
        let labels = RequestLabels { operation: operation.clone(), outcome: event.outcome.name() };
        self.requests.get_or_create(&labels).inc();
        if !is_metered {
            return;
        }
        let labels = OperationLabels { operation };
        self.duration.get_or_create(&labels).observe(event.duration.as_secs_f64());
        if let Some(first_byte) = event.time_to_first_byte {
            self.first_byte.get_or_create(&labels).observe(first_byte.as_secs_f64());
        }
        self.usage.add(event);
    }

    pub(crate) fn refused(&self, refusal: &Refusal) {
        let labels = RefusalLabels { code: refusal.code(), blame: refusal.blame().name() };
        self.refusals.get_or_create(&labels).inc();
    }

    /// Everything, for the operator: `OpenMetrics` text.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String fails only when a label can't be encoded, and ours are texts.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// One caller's own token counters: Prometheus text.
    pub(crate) fn render_for(&self, principal: &Principal) -> String {
        use fmt::Write as _;
        let mut text = format!("# HELP {USAGE_NAME}_total {USAGE_HELP}\n# TYPE {USAGE_NAME}_total counter\n");
        let owner = Owner::of(principal);
        for (series, tokens) in self.usage.0.lock().iter().filter(|(series, _)| series.owner == owner) {
            for (direction, tokens) in [("in", tokens.input), ("out", tokens.output)] {
                let [user, model] = [&series.owner.subject, series.model.as_str()].map(escape_label);
                let _ = writeln!(
                    text,
                    "{USAGE_NAME}_total{{user=\"{user}\",direction=\"{direction}\",model=\"{model}\"}} {tokens}"
                );
            }
        }
        text
    }
}

/// Prometheus text format: backslash, quote and line feed.
fn escape_label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The name that users of Attach Gateway have in their dashboards, without the suffix of counters.
const USAGE_NAME: &str = "attach_usage_tokens";
const USAGE_HELP: &str = "Tokens by user, direction and model";

/// Whose tokens they are. Two tenants may have a user of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Owner {
    tenant: TenantId,
    kind: PrincipalKind,
    issuer: Option<String>,
    /// Two applications may name their users alike.
    delegated_by: Option<KeyId>,
    subject: String,
}

impl Owner {
    fn of(principal: &Principal) -> Self {
        Self {
            tenant: principal.tenant.clone(),
            kind: principal.kind,
            issuer: principal.issuer.clone(),
            delegated_by: principal.delegated_by.clone(),
            subject: principal.subject.clone(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Series {
    owner: Owner,
    model: String,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tokens {
    input: u64,
    output: u64,
}

#[derive(Debug, Default)]
struct UsageTable(Mutex<HashMap<Series, Tokens>>);

impl UsageTable {
    fn add(&self, event: &UsageEvent) {
        let input = event.quantity(MeasuredQuantity::INPUT_TOKENS).unwrap_or(0);
        let output = event.quantity(MeasuredQuantity::OUTPUT_TOKENS).unwrap_or(0);
        if input == 0 && output == 0 {
            return;
        }
        let owner = Owner {
            tenant: event.tenant.clone(),
            kind: event.principal.kind,
            issuer: event.principal.issuer.clone(),
            delegated_by: event.principal.delegated_by.clone(),
            subject: event.principal.subject.clone(),
        };
        let model = event.model.as_ref().map_or("", ModelName::as_str).to_owned();
        let mut series = Series { owner, model };
        let mut table = self.0.lock();
        if table.len() >= MAX_USAGE_SERIES && !table.contains_key(&series) {
            OTHER.clone_into(&mut series.owner.subject);
            series.owner.issuer = None;
            series.owner.delegated_by = None;
            OTHER.clone_into(&mut series.model);
        }
        let tokens = table.entry(series).or_default();
        tokens.input += input;
        tokens.output += output;
    }
}

#[derive(Debug)]
struct UsageCollector(Arc<UsageTable>);

impl Collector for UsageCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // Users of one name in several tenants or of several issuers are one series here, told apart by tenant.
        let mut merged: HashMap<(String, String, String), Tokens> = HashMap::new();
        for (series, tokens) in self.0.0.lock().iter() {
            let labels =
                (series.owner.subject.clone(), series.model.clone(), series.owner.tenant.to_string());
            let sum = merged.entry(labels).or_default();
            sum.input += tokens.input;
            sum.output += tokens.output;
        }
        let mut family = encoder.encode_descriptor("usage_tokens", USAGE_HELP, None, MetricType::Counter)?;
        for ((user, model, tenant), tokens) in &merged {
            for (direction, tokens) in [("in", tokens.input), ("out", tokens.output)] {
                let labels = [
                    ("user", user.as_str()),
                    ("direction", direction),
                    ("model", model.as_str()),
                    ("tenant", tenant.as_str()),
                ];
                ConstCounter::new(tokens).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
