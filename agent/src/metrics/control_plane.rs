//! How things stand with the control plane, as metrics.

use crate::{
    clock::Clock,
    control_plane::{Standing, State},
};
use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use std::{fmt, sync::Arc};

#[derive(Debug)]
pub(super) struct ControlPlaneCollector {
    /// `None` for a gateway that belongs to none.
    standing: Option<Arc<Standing>>,
    clock: Clock,
}

impl ControlPlaneCollector {
    pub(super) fn new(standing: Option<Arc<Standing>>, clock: Clock) -> Self {
        Self { standing, clock }
    }
}

impl Collector for ControlPlaneCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let managed = f64::from(u8::from(self.standing.is_some()));
        gauge(&mut encoder, "managed", "1 when the gateway belongs to a control plane", Some(managed))?;
        match &self.standing {
            Some(standing) => encode(&mut encoder, &standing.look(), self.clock.now()),
            None => Ok(()),
        }
    }
}

fn encode(encoder: &mut DescriptorEncoder<'_>, state: &State, now: Timestamp) -> Result<(), fmt::Error> {
    let flag = |is_so: bool| Some(f64::from(u8::from(is_so)));
    let gauges = [
        ("control_plane_connected", "1 while the stream of configuration is open", flag(state.connected)),
        ("control_plane_revoked", "1 when the gateway may serve no longer", flag(state.revoked)),
        (
            "control_plane_applied_revision",
            "Revision of the control plane that is served",
            state.applied_revision.map(|revision| revision as f64),
        ),
        (
            "control_plane_silence_seconds",
            "Since the control plane was last heard",
            state.last_word.map(|at| at.elapsed().as_secs_f64()),
        ),
        (
            "control_plane_clock_offset_seconds",
            "How far this clock is ahead of the control plane's",
            state.clock_offset.map(|offset| offset.as_secs_f64()),
        ),
        (
            "control_plane_certificate_days",
            "Until the certificate towards the control plane ends",
            state.certificate_days(now),
        ),
        (
            "usage_unacknowledged_events",
            "Usage events that the control plane has not acknowledged",
            Some(state.unacknowledged_events() as f64),
        ),
        (
            "usage_stopped_spools",
            "Usage spools that the control plane does not take",
            Some(state.stopped_spools as f64),
        ),
    ];
    for (name, help, value) in gauges {
        gauge(encoder, name, help, value)?;
    }
    let help = "Revisions of the control plane that were refused whole";
    let family =
        encoder.encode_descriptor("control_plane_refused_revisions", help, None, MetricType::Counter)?;
    ConstCounter::new(state.refused_revisions).encode(family)
}

/// One that is not known yet is left out: zero would say something else.
pub(super) fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: Option<f64>,
) -> Result<(), fmt::Error> {
    let Some(value) = value else { return Ok(()) };
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}
