//! `v1::UsageEvent` to [`UsageEvent`].

use super::{Invalid, each, id, known};
use crate::{
    id::Revision,
    usage::{
        Attempt, MeasureSource, MeasuredQuantity, Outcome, PrincipalKind, PrincipalSnapshot, UsageEvent,
    },
    v1,
};
use jiff::Timestamp;
use std::time::Duration;
use uuid::Uuid;

pub(super) fn convert(wire: v1::UsageEvent) -> Result<UsageEvent, Invalid> {
    let v1::UsageEvent {
        event_id,
        occurred_at,
        tenant,
        pool,
        agent,
        request_id,
        operation,
        dialect,
        model,
        stream,
        principal,
        measures,
        outcome,
        http_status,
        bundle_revision,
        attempts,
        time_to_first_byte,
        duration,
    } = wire;
    let occurred_at = occurred_at.ok_or_else(|| Invalid::new("occurred_at", "is missing"))?;
    Ok(UsageEvent {
        event_id: Uuid::parse_str(&event_id)
            .map_err(|error| Invalid::new("event_id", format!("is not a UUID: {error}")))?,
        occurred_at: Timestamp::new(occurred_at.seconds, occurred_at.nanos)
            .map_err(|error| Invalid::new("occurred_at", error.to_string()))?,
        tenant: id(&tenant, "tenant")?,
        pool: if pool.is_empty() { None } else { Some(id(&pool, "pool")?) },
        agent: id(&agent, "agent")?,
        request_id,
        operation: operation.into(),
        dialect: dialect.into(),
        model: if model.is_empty() { None } else { Some(id(&model, "model")?) },
        stream,
        principal: principal
            .ok_or_else(|| Invalid::new("", "is missing"))
            .and_then(principal_snapshot)
            .map_err(|error| error.below("principal"))?,
        measures: each(measures, "measures", measured_quantity)?,
        outcome: match known(outcome, "outcome")? {
            v1::Outcome::Unspecified => return Err(Invalid::new("outcome", "is missing")),
            v1::Outcome::Complete => Outcome::Complete,
            v1::Outcome::ClientGone => Outcome::ClientGone,
            v1::Outcome::EngineError => Outcome::EngineError,
            v1::Outcome::Cut => Outcome::Cut,
            v1::Outcome::TimedOut => Outcome::TimedOut,
        },
        http_status: status(http_status, "http_status")?,
        bundle_revision: Revision(bundle_revision),
        attempts: each(attempts, "attempts", attempt)?,
        time_to_first_byte: time_to_first_byte.map(|it| elapsed(&it, "time_to_first_byte")).transpose()?,
        duration: elapsed(&duration.ok_or_else(|| Invalid::new("duration", "is missing"))?, "duration")?,
    })
}

fn principal_snapshot(wire: v1::PrincipalSnapshot) -> Result<PrincipalSnapshot, Invalid> {
    let v1::PrincipalSnapshot {
        kind,
        subject,
        issuer,
        key,
        groups,
        project,
        organisation,
        cost_centre,
        email,
        delegated_by,
    } = wire;
    let given = |text: String| (!text.is_empty()).then_some(text);
    Ok(PrincipalSnapshot {
        kind: match known(kind, "kind")? {
            v1::PrincipalKind::Unspecified => return Err(Invalid::new("kind", "is missing")),
            v1::PrincipalKind::User => PrincipalKind::User,
            v1::PrincipalKind::Service => PrincipalKind::Service,
            v1::PrincipalKind::Key => PrincipalKind::Key,
            v1::PrincipalKind::Did => PrincipalKind::Did,
        },
        subject,
        issuer: given(issuer),
        key: if key.is_empty() { None } else { Some(id(&key, "key")?) },
        groups,
        project: given(project),
        organisation: given(organisation),
        cost_centre: given(cost_centre),
        email: given(email),
        delegated_by: if delegated_by.is_empty() { None } else { Some(id(&delegated_by, "delegated_by")?) },
    })
}

fn measured_quantity(wire: v1::MeasuredQuantity) -> Result<MeasuredQuantity, Invalid> {
    let v1::MeasuredQuantity { kind, quantity, source } = wire;
    if kind.is_empty() {
        return Err(Invalid::new("kind", "is missing"));
    }
    let source = match known(source, "source")? {
        v1::MeasureSource::Unspecified => return Err(Invalid::new("source", "is missing")),
        v1::MeasureSource::Engine => MeasureSource::Engine,
        v1::MeasureSource::Estimated => MeasureSource::Estimated,
    };
    Ok(MeasuredQuantity { kind: kind.into(), quantity, source })
}

fn attempt(wire: v1::Attempt) -> Result<Attempt, Invalid> {
    let v1::Attempt { upstream, engine_model, http_status, error } = wire;
    Ok(Attempt {
        upstream: id(&upstream, "upstream")?,
        engine_model: if engine_model.is_empty() { None } else { Some(id(&engine_model, "engine_model")?) },
        http_status: status(http_status, "http_status")?,
        error: (!error.is_empty()).then(|| error.into()),
    })
}

fn status(value: u32, field: &str) -> Result<Option<u16>, Invalid> {
    match u16::try_from(value) {
        Ok(0) => Ok(None),
        Ok(status) if status < 1000 => Ok(Some(status)),
        Ok(_) | Err(_) => Err(Invalid::new(field, format!("{value} is not an HTTP status"))),
    }
}

fn elapsed(wire: &pbjson_types::Duration, field: &str) -> Result<Duration, Invalid> {
    match (u64::try_from(wire.seconds), u32::try_from(wire.nanos)) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Ok(Duration::new(seconds, nanos)),
        _ => Err(Invalid::new(field, "must not be negative")),
    }
}
