//! One agent's stream: what it holds, what it is sent, and what it says.

use super::{Door, look_ups::LookUps, refusal};
use crate::{
    bundle::PoolBundle,
    changes::Following,
    clock::Clock,
    db::{
        Database, DbError,
        agents::{self, Beat, Connected},
        in_time,
    },
    questions::{Asked, Seated},
};
use attach_proto::{
    enrolment::AgentName,
    id::AgentId,
    resources::{Difference, EXPLAINS},
    v1::{
        self, Ack, Answer, FromAgent, Heartbeat, HeartbeatReply, HeldResource, Hello, Resource, ToAgent,
        Update, from_agent::Message as Said, to_agent::Message as Say,
    },
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use tonic::{Status, Streaming};
use uuid::Uuid;

/// Of a chunk's resources: well below the 4 MiB that gRPC takes, and little enough to be sent between two heartbeats.
const CHUNK_BYTES: usize = 1024 * 1024;

/// As much of an agent's version as is kept.
const MAX_VERSION_BYTES: usize = 64;

/// As much of what a host says of its engines as is kept: thousands of models.
const MAX_SAID_BYTES: usize = 256 * 1024;

/// As much of an agent's own words as is kept.
const MAX_REFUSAL_CHARACTERS: usize = 1_000;

/// An agent answers within milliseconds; one that does not by now is out of order, and begins anew.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

pub(super) type ToAgentSender = mpsc::Sender<Result<ToAgent, Status>>;

pub(super) struct Session<'a> {
    db: &'a Database,
    clock: &'a Clock,
    agent: &'a AgentName,
    to_agent: &'a ToAgentSender,
    look_ups: LookUps,
    features: Vec<String>,
    held: Held,
    /// Sent, and not answered yet. One at a time: what changes meanwhile goes out with the next.
    under_way: Option<(String, Arc<PoolBundle>)>,
    /// When the answer to it is overdue.
    answer_by: Instant,
    /// The revision that the agent would not take, which is not sent again.
    refused: Option<u64>,
    /// Questions that the agent was asked, by their ids, and who waits for the answers.
    asked: HashMap<String, mpsc::Sender<(AgentId, v1::answer::Answer)>>,
}

/// What the agent has.
enum Held {
    Said(Vec<HeldResource>),
    Applied(Arc<PoolBundle>),
}

impl<'a> Session<'a> {
    /// Runs until the agent leaves; an error is the last word to it.
    pub(super) async fn run(
        door: &'a Door,
        agent: &'a AgentName,
        hello: Hello,
        said: Streaming<FromAgent>,
        to_agent: &'a ToAgentSender,
    ) -> Result<(), Status> {
        // Followed before the look: whoever is revoked in between is noticed by one of the two.
        let following = door.changes.follow(&agent.pool, &agent.agent);
        let standing = in_time(async {
            let mut tx = door.db.system().await?;
            agents::standing(tx.connection(), &agent.agent, &agent.pool).await
        });
        refusal::unless_good(standing.await.map_err(|error: DbError| refusal::db(&error))?)?;

        let Hello { mut version, features, held, upstreams } = hello;
        version.retain(|c| !c.is_control());
        version.truncate(version.floor_char_boundary(MAX_VERSION_BYTES));
        let upstreams = kept(&upstreams);
        let connected = Connected { version: &version, features: &features, upstreams: &upstreams };
        let connected_at = record(&door.db, async |connection| {
            agents::connected(connection, &agent.agent, &connected).await.map(Some)
        })
        .await?;
        tracing::info!(agent.id = %agent.agent, pool.id = %agent.pool, version, "an agent is connected");
        let session = Self {
            db: &door.db,
            clock: &door.clock,
            agent,
            to_agent,
            look_ups: LookUps::new(Arc::clone(&door.issuer_keys), agent.pool.clone(), to_agent.clone()),
            features,
            held: Held::Said(held),
            under_way: None,
            answer_by: Instant::now(),
            refused: None,
            asked: HashMap::new(),
        };
        let explains = session.features.iter().any(|feature| feature == EXPLAINS);
        let seated = door.questions.seat(&agent.pool, &agent.agent, explains);
        let revoked = following.revoked.clone();
        let ended = tokio::select! {
            // Whatever it waits for: an agent that reads nothing keeps no stream by that.
            () = revoked.cancelled() => Err(refusal::revoked()),
            ended = session.serve(following, seated, said) => ended,
        };
        if let Some(connected_at) = connected_at {
            // Best effort: a heartbeat that stays away says the same a little later.
            let _ = record(&door.db, async |connection| {
                agents::disconnected(connection, &agent.agent, connected_at).await
            })
            .await;
        }
        ended
    }

    async fn serve(
        mut self,
        mut following: Following,
        mut seated: Seated,
        mut said: Streaming<FromAgent>,
    ) -> Result<(), Status> {
        loop {
            if self.under_way.is_none() {
                let newest = following.bundles.borrow_and_update().clone();
                if let Some(bundle) = newest {
                    self.bring_up_to(bundle).await?;
                }
            }
            tokio::select! {
                () = self.to_agent.closed() => return Ok(()),
                changed = following.bundles.changed(), if self.under_way.is_none() => {
                    if changed.is_err() {
                        return Err(Status::unavailable("the control plane is being stopped"));
                    }
                }
                Some(asked) = seated.asked.recv() => self.ask(asked).await,
                () = tokio::time::sleep_until(self.answer_by), if self.under_way.is_some() => {
                    return Err(Status::deadline_exceeded("the last revision was not answered"));
                }
                message = said.message() => match message {
                    Ok(Some(FromAgent { message: Some(message) })) => self.hear(message).await?,
                    // Of a later version.
                    Ok(Some(FromAgent { message: None })) => {}
                    Ok(None) | Err(_) => return Ok(()),
                },
            }
        }
    }

    async fn hear(&mut self, message: Said) -> Result<(), Status> {
        match message {
            Said::Hello(_) => Err(refusal::invalid("Hello is said once")),
            Said::Heartbeat(heartbeat) => self.beat(heartbeat).await,
            Said::Ack(ack) => self.answered(ack).await,
            Said::Answer(answer) => {
                self.pass_on(answer).await;
                Ok(())
            }
            Said::KeysWanted(wanted) => self.look_ups.begin(wanted),
        }
    }

    /// Passes a question on. Of those that were asked before, only such are kept that somebody waits for.
    async fn ask(&mut self, asked: Asked) {
        let Asked { question, answer_to } = asked;
        self.asked.retain(|_, answer_to| !answer_to.is_closed());
        self.asked.insert(question.id.clone(), answer_to);
        // A stream that is gone ends soon, and its agent is not waited for longer than the others.
        let _ = self.say(Say::Question(question)).await;
    }

    /// Once, and nothing that was not asked.
    async fn pass_on(&mut self, answer: Answer) {
        let Answer { question_id, answer } = answer;
        if let (Some(answer_to), Some(answer)) = (self.asked.remove(&question_id), answer) {
            // Whoever asked may have gone.
            let _ = answer_to.send((self.agent.agent.clone(), answer)).await;
        }
    }

    /// Sends what the agent lacks of a revision, unless it has it, can't take it, or would not.
    async fn bring_up_to(&mut self, bundle: Arc<PoolBundle>) -> Result<(), Status> {
        let revision = bundle.revision.0;
        let is_known = match &self.held {
            Held::Applied(applied) => applied.revision == bundle.revision,
            Held::Said(_) => false,
        };
        if is_known || self.refused == Some(revision) {
            return Ok(());
        }
        let missing: Vec<String> =
            bundle.resources.needed_features().filter(|needed| !self.features.contains(needed)).collect();
        if !missing.is_empty() {
            self.refused = Some(revision);
            let agent = &self.agent.agent;
            return record(self.db, async |connection| agents::too_old(connection, agent, &missing).await)
                .await;
        }
        let difference = match &self.held {
            Held::Said(held) => bundle.resources.difference(held),
            Held::Applied(applied) => bundle.resources.difference_to(&applied.resources),
        };
        let nonce = Uuid::now_v7().to_string();
        for update in chunks(difference, &bundle, &nonce) {
            // The agent takes its time, or is gone.
            if self.say(Say::Update(update)).await.is_err() {
                return Ok(());
            }
        }
        self.under_way = Some((nonce, bundle));
        self.answer_by = Instant::now() + ANSWER_WITHIN;
        Ok(())
    }

    async fn answered(&mut self, ack: Ack) -> Result<(), Status> {
        let Some((nonce, bundle)) = self.under_way.take() else {
            return Err(refusal::invalid("nothing was sent that could be answered"));
        };
        if ack.nonce != nonce {
            return Err(refusal::invalid("the answer is to something else than what was sent last"));
        }
        let agent = &self.agent.agent;
        let revision = i64::try_from(bundle.revision.0).unwrap_or(i64::MAX);
        if ack.error.is_empty() {
            self.refused = None;
            self.held = Held::Applied(bundle);
            return record(self.db, async |connection| agents::applied(connection, agent, revision).await)
                .await;
        }
        self.refused = Some(bundle.revision.0);
        let why: String = ack.error.chars().filter(|c| *c != '\0').take(MAX_REFUSAL_CHARACTERS).collect();
        tracing::warn!(agent.id = %agent, bundle.revision = revision, "an agent refuses a revision: {why}");
        record(self.db, async |connection| agents::refused(connection, agent, revision, &why).await).await
    }

    async fn beat(&mut self, heartbeat: Heartbeat) -> Result<(), Status> {
        let received_at = self.clock.now();
        let Heartbeat { sent_at, applied_revision, clock_offset, upstreams, unacknowledged_events, issuers } =
            heartbeat;
        let reply = HeartbeatReply { sent_at, received_at: Some(attach_proto::timestamp(received_at)) };
        // Before the database is asked, which would count as a clock's difference.
        let _ = self.say(Say::HeartbeatReply(reply)).await;
        let (health, issuers) = (kept(&upstreams), kept(&issuers));
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let beat = Beat {
            applied_revision: number(applied_revision),
            health: &health,
            issuers: &issuers,
            clock_offset_ms: clock_offset.map(|offset| {
                offset.seconds.saturating_mul(1000).saturating_add(i64::from(offset.nanos / 1_000_000))
            }),
            unacknowledged_events: number(unacknowledged_events),
        };
        let agent = &self.agent.agent;
        record(self.db, async |connection| agents::beat(connection, agent, &beat).await).await
    }

    async fn say(&self, message: Say) -> Result<(), mpsc::error::SendError<Result<ToAgent, Status>>> {
        self.to_agent.send(Ok(ToAgent { message: Some(message) })).await
    }
}

/// What a host says of its engines, unless it is more than anybody could read.
fn kept(said: &impl serde::Serialize) -> serde_json::Value {
    let said = serde_json::to_value(said).unwrap_or_default();
    if said.to_string().len() > MAX_SAID_BYTES { serde_json::Value::Array(Vec::new()) } else { said }
}

/// Keeps what an agent says of itself. While the database is away its streams stay: what they said last is said again. So
/// they do when the database can't keep it, such as a model's name with a byte zero.
async fn record<T: Default>(
    db: &Database,
    write: impl AsyncFnOnce(&mut sqlx::PgConnection) -> Result<T, DbError>,
) -> Result<T, Status> {
    let written = async {
        let mut tx = db.system().await?;
        let written = write(tx.connection()).await?;
        tx.commit().await?;
        Ok(written)
    };
    match in_time(written).await {
        Ok(written) => Ok(written),
        Err(error @ (DbError::Unavailable(_) | DbError::Value(_))) => {
            tracing::warn!(error = %error, "what an agent says of itself is not kept");
            Ok(T::default())
        }
        Err(error) => Err(refusal::db(&error)),
    }
}

/// In pieces of about [`CHUNK_BYTES`]; the last one completes the revision.
fn chunks(difference: Difference, bundle: &PoolBundle, nonce: &str) -> Vec<Update> {
    let Difference { upsert, removed } = difference;
    let mut pieces: Vec<Vec<Resource>> = vec![Vec::new()];
    let mut room = CHUNK_BYTES;
    for resource in upsert {
        let size = resource.body.len() + resource.id.len() + 16;
        if size > room {
            pieces.push(Vec::new());
            room = CHUNK_BYTES;
        }
        room = room.saturating_sub(size);
        if let Some(last) = pieces.last_mut() {
            last.push(resource);
        }
    }
    let count = pieces.len();
    let update = |(index, upsert)| {
        let is_last = index + 1 == count;
        Update {
            revision: bundle.revision.0,
            nonce: nonce.to_owned(),
            upsert,
            removed: if index == 0 { removed.clone() } else { Vec::new() },
            last: is_last,
            manifest: is_last.then(|| bundle.manifest.clone()),
        }
    };
    pieces.into_iter().enumerate().map(update).collect()
}
