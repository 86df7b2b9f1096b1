//! Why a credential is taken or refused here, for its operator: on the host by a socket that only the gateway's own user may
//! open (`socket`), and for the control plane by the stream of configuration (`stream`).
//!
//! Both are answered by the gateway that serves, with the bundle and the keys that it holds now. Nothing is kept of what was
//! asked, and none of it is logged.

mod facts;
mod socket;
mod stream;

pub(crate) use socket::{LocalSocket, ask};
pub(crate) use stream::answer_questions;

use crate::{
    clock::Clock,
    decisions,
    identify::{Explained, Issuers, Outcome, Row, UsedProofs, explain},
    snapshot::Snapshot,
};
use attach_proto::{id::TenantId, question::MAX_PASTED_BYTES, v1};
use facts::facts;
use serde_json::{Map, Value};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::watch, task::spawn_blocking, time::timeout};

/// An issuer that has to be asked for a key is waited for 5 s by a request; whoever asks from afar waits no longer than that.
const PATIENCE: Duration = Duration::from_millis(4_500);

/// Refusals of one request id that are sent: more than a page shows.
const MAX_REFUSALS: usize = 20;

/// What it takes to explain. Clones share it.
#[derive(Clone)]
pub(crate) struct Explainer {
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) issuers: Arc<Issuers>,
    pub(crate) used: Arc<UsedProofs>,
    pub(crate) clock: Clock,
    /// Below which refusals are written down.
    pub(crate) state: PathBuf,
}

impl Explainer {
    /// `tenant` is whose question it is; `None` for who may see all that this gateway serves.
    ///
    /// # Errors
    ///
    /// Why there is no answer, in words.
    async fn credential(&self, pasted: &str, tenant: Option<TenantId>) -> Result<v1::Explanation, String> {
        if pasted.len() > MAX_PASTED_BYTES {
            return Err("it is too large to be a credential".to_owned());
        }
        let whole = Arc::clone(&self.snapshots.borrow());
        let Some(tenant) = tenant else { return self.by(pasted, &whole).await };
        let of = Arc::clone(&whole);
        // Ten thousand keys take some milliseconds, in which health and issuers would wait.
        let view = spawn_blocking(move || of.seen_by(&tenant).ok_or(tenant)).await;
        let view = view.map_err(|_| "the gateway failed; its log says how".to_owned())?;
        let view = view.map_err(|tenant| format!("the gateway does not serve the tenant {tenant}"))?;
        let explanation = self.by(pasted, &view).await?;
        if !explanation.accepted {
            return Ok(explanation);
        }
        // Good for this tenant alone is not good: a token for two tenants is refused.
        let of_all = self.by(pasted, &whole).await?;
        Ok(if of_all.accepted { explanation } else { of_all })
    }

    async fn by(&self, pasted: &str, snapshot: &Snapshot) -> Result<v1::Explanation, String> {
        let explaining = explain(pasted, snapshot, &self.issuers, &self.used, &self.clock);
        let explained = timeout(PATIENCE, explaining).await;
        let explained = explained.map_err(|_| {
            "the issuer was asked for the token's key and does not answer; see /readyz".to_owned()
        })?;
        let is_verified = explained.is_verified();
        let Explained { kind, rows, caller, until } = explained;
        Ok(v1::Explanation {
            kind: kind.map(|kind| kind.name().to_owned()).unwrap_or_default(),
            accepted: caller.is_some(),
            checks: rows.into_iter().map(check).collect(),
            caller: caller.map(|caller| facts(&caller, until, snapshot)).unwrap_or_default(),
            verified: is_verified,
            at: Some(attach_proto::timestamp(self.clock.now())),
            bundle_revision: snapshot.bundle().revision.0,
        })
    }

    /// The refusals of a request id that are this tenant's. Whose a caller was that was not identified is not known: they are
    /// told only where all callers are this tenant's.
    async fn request(&self, id: String, tenant: TenantId) -> Result<v1::Refusals, String> {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        if snapshot.tenant(&tenant).is_none() {
            return Err(format!("the gateway does not serve the tenant {tenant}"));
        }
        let is_alone = snapshot.bundle().tenants.len() == 1;
        let state = self.state.clone();
        let found = spawn_blocking(move || decisions::find(&state, &id)).await;
        let found = found.ok().and_then(Result::ok);
        let found = found.ok_or_else(|| "its record of refusals can't be read".to_owned())?;
        let of = |decision: &Map<String, Value>| {
            decision.get("tenant").and_then(Value::as_str).map(|of| of == tenant.as_str())
        };
        let is_told = |decision: &&Map<String, Value>| of(decision).unwrap_or(is_alone);
        Ok(v1::Refusals {
            refusals: found.iter().filter(is_told).take(MAX_REFUSALS).map(refusal).collect(),
            has_unidentified: !is_alone && found.iter().any(|decision| of(decision).is_none()),
        })
    }
}

fn check(row: Row) -> v1::ExplainedCheck {
    let Row { check, outcome, fault, note } = row;
    let outcome = match outcome {
        Outcome::Passed => v1::CheckOutcome::Passed,
        Outcome::Failed => v1::CheckOutcome::Failed,
        Outcome::AlsoFails => v1::CheckOutcome::AlsoFails,
        Outcome::NotReached => v1::CheckOutcome::NotReached,
        Outcome::NotApplicable => v1::CheckOutcome::NotApplicable,
    };
    let reason = match &fault {
        Some(fault) if note.is_empty() => fault.to_string(),
        Some(fault) => format!("{fault}; {note}"),
        None => note,
    };
    v1::ExplainedCheck {
        name: check.name().to_owned(),
        title: check.title().to_owned(),
        outcome: outcome.into(),
        code: fault.as_ref().map(|fault| fault.code().to_owned()).unwrap_or_default(),
        reason,
        advice: fault.as_ref().map(|fault| fault.advice().to_owned()).unwrap_or_default(),
    }
}

fn refusal(decision: &Map<String, Value>) -> v1::Refusal {
    let said = decision.iter().filter(|(_, value)| !value.is_null());
    let fact = |(name, value): (&String, &Value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        v1::Fact { name: name.replace('_', " "), values: vec![text] }
    };
    v1::Refusal { facts: said.map(fact).collect() }
}
