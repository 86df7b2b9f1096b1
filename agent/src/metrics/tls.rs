//! How things stand with the listener's certificate, as metrics.

use super::control_plane::gauge;
use crate::tls::{TlsStanding, TlsState};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter},
};
use std::{fmt, sync::Arc};

/// Of a gateway that serves HTTPS.
#[derive(Debug)]
pub(super) struct TlsCollector(pub(super) Arc<TlsStanding>);

impl Collector for TlsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let TlsState { validity, problem, client_authority_problem, changes, failures, names: _ } =
            self.0.look();
        let flag = |is_so: bool| Some(f64::from(u8::from(is_so)));
        let gauges = [
            (
                "tls_certificate_ends_timestamp_seconds",
                "When the certificate that is served ends, in seconds since the Unix epoch",
                validity.map(|validity| validity.not_after.as_second() as f64),
            ),
            (
                "tls_certificate_problem",
                "1 while the newest certificate is not the one that is served",
                flag(problem.is_some()),
            ),
            (
                "tls_client_authority_problem",
                "1 while the newest authority for callers' certificates is not the one that counts",
                flag(client_authority_problem.is_some()),
            ),
        ];
        for (name, help, value) in gauges {
            gauge(&mut encoder, name, help, value)?;
        }
        for (name, help, count) in [
            ("tls_certificate_changes", "Certificates that took effect since the start", changes),
            ("tls_certificate_failures", "Tries that brought no new certificate", failures),
        ] {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(count).encode(family)?;
        }
        Ok(())
    }
}
