//! How it stands with the issuers' keys, as metrics.

use crate::{
    clock::Clock,
    identify::{IssuerStatus, Issuers},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use std::{fmt, sync::Arc};

/// Issuers that have series of their own, those in trouble first. A scrape of so many has 1 MB.
const MAX_ISSUERS: usize = 1_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    issuer: String,
    source: String,
}

type Gauge = (&'static str, &'static str, fn(&IssuerStatus, now: f64) -> Option<f64>);

const GAUGES: [Gauge; 5] = [
    ("issuer_usable", "1 while tokens of the issuer can be verified", |it, _| Some(flag(it.usable))),
    ("issuer_keys_stale", "1 when the issuer's keys should have been renewed", |it, _| Some(flag(it.stale))),
    ("issuer_keys", "Keys that verify tokens of the issuer", |it, _| Some(it.keys as f64)),
    ("issuer_skipped_keys", "Keys of the issuer's set that are not used", |it, _| {
        Some(it.skipped_keys as f64)
    }),
    ("issuer_keys_age_seconds", "Since the issuer's keys were fetched", |it, now| {
        it.last_fetch.map(|at| now - at.as_millisecond() as f64 / 1000.0)
    }),
];

pub(super) struct IssuerCollector {
    pub(super) issuers: Arc<Issuers>,
    pub(super) clock: Clock,
}

impl fmt::Debug for IssuerCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IssuerCollector")
    }
}

impl Collector for IssuerCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = self.clock.now().as_millisecond() as f64 / 1000.0;
        let issuers = self.issuers.status_of(MAX_ISSUERS);
        for (name, help, value) in GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for issuer in &issuers {
                if let Some(value) = value(issuer, now) {
                    ConstGauge::new(value).encode(family.encode_family(&labels(issuer))?)?;
                }
            }
        }
        let help = "Times that the issuer was asked for its keys";
        let mut fetches = encoder.encode_descriptor("issuer_fetches", help, None, MetricType::Counter)?;
        for issuer in &issuers {
            for (outcome, count) in [("good", issuer.attempts.good), ("failed", issuer.attempts.failed)] {
                let labels = [
                    ("issuer", issuer.issuer.clone()),
                    ("source", issuer.source.clone().unwrap_or_default()),
                    ("outcome", outcome.to_owned()),
                ];
                ConstCounter::new(count).encode(fetches.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

fn labels(issuer: &IssuerStatus) -> Labels {
    Labels { issuer: issuer.issuer.clone(), source: issuer.source.clone().unwrap_or_default() }
}
