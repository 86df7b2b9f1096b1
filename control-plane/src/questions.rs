//! Questions that people ask of gateways, by the streams that this replica holds. What is asked about may be a secret: it is
//! passed on and forgotten, and stands in no log.
//!
//! A gateway whose stream another replica holds is not asked: a credential does not go through the database.

use attach_proto::{
    id::{AgentId, PoolId, TenantId},
    v1::{self, answer, question::About},
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, timeout_at},
};
use uuid::Uuid;

/// A gateway may have to ask an issuer for a key, and tells after 4.5 s that it does not answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Gateways that are asked of one tenant's: those of a pool have one configuration, and more than these tell nothing new.
const MAX_ASKED: usize = 20;

/// Questions at a time, of all people together.
const MAX_AT_A_TIME: usize = 4;

/// Questions that wait for a stream: a session takes one between two messages.
const QUEUED: usize = MAX_AT_A_TIME;

/// Who may be asked, and by what channel.
#[derive(Debug)]
pub(crate) struct Questions {
    seats: Mutex<HashMap<u64, Seat>>,
    next_seat: AtomicU64,
    room: Semaphore,
}

#[derive(Debug)]
struct Seat {
    pool: PoolId,
    agent: AgentId,
    /// Whether its version answers questions.
    explains: bool,
    ask: mpsc::Sender<Asked>,
}

/// For a session, to be sent to its agent.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) question: v1::Question,
    pub(crate) answer_to: mpsc::Sender<(AgentId, answer::Answer)>,
}

/// An agent's place for as long as its stream is open.
#[derive(Debug)]
pub(crate) struct Seated {
    number: u64,
    questions: Arc<Questions>,
    pub(crate) asked: mpsc::Receiver<Asked>,
}

/// What came of a question. Agents of the same pool mostly say the same.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answers {
    pub(crate) said: Vec<(Vec<AgentId>, answer::Answer)>,
    /// They did not answer in time.
    pub(crate) silent: Vec<AgentId>,
    /// Their version does not know of questions.
    pub(crate) too_old: Vec<AgentId>,
    /// Connected, and not asked: enough others were.
    pub(crate) not_asked: usize,
    /// There were too many questions at once, and this one was not asked.
    pub(crate) is_busy: bool,
}

impl Questions {
    pub(crate) fn new() -> Self {
        Self { seats: Mutex::default(), next_seat: AtomicU64::new(0), room: Semaphore::new(MAX_AT_A_TIME) }
    }

    pub(crate) fn seat(self: &Arc<Self>, pool: &PoolId, agent: &AgentId, explains: bool) -> Seated {
        let (ask, asked) = mpsc::channel(QUEUED);
        let number = self.next_seat.fetch_add(1, Ordering::Relaxed);
        let seat = Seat { pool: pool.clone(), agent: agent.clone(), explains, ask };
        self.seats().insert(number, seat);
        Seated { number, questions: Arc::clone(self), asked }
    }

    /// Asks the gateways of these pools, and waits for what they say.
    pub(crate) async fn ask(&self, pools: &[PoolId], tenant: &TenantId, about: About) -> Answers {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let Ok(Ok(_room)) = timeout_at(deadline, self.room.acquire()).await else {
            return Answers { is_busy: true, ..Answers::default() };
        };
        let mut answers = Answers::default();
        let question = v1::Question {
            id: Uuid::now_v7().to_string(),
            tenant: tenant.as_str().to_owned(),
            about: Some(about),
        };
        let (answer_to, mut said) = mpsc::channel(MAX_ASKED);
        for (agent, ask) in self.of_pools(pools, &mut answers) {
            let asked = Asked { question: question.clone(), answer_to: answer_to.clone() };
            // A stream that takes no question now will hardly answer one in time.
            let _ = ask.try_send(asked);
            answers.silent.push(agent);
        }
        drop((question, answer_to));
        while !answers.silent.is_empty() {
            let Ok(Some((agent, answer))) = timeout_at(deadline, said.recv()).await else { break };
            if let Some(index) = answers.silent.iter().position(|silent| *silent == agent) {
                answers.silent.swap_remove(index);
                answers.add(agent, answer);
            }
        }
        answers
    }

    fn of_pools(&self, pools: &[PoolId], answers: &mut Answers) -> Vec<(AgentId, mpsc::Sender<Asked>)> {
        let mut found = Vec::new();
        for seat in self.seats().values().filter(|seat| pools.contains(&seat.pool)) {
            if !seat.explains {
                answers.too_old.push(seat.agent.clone());
            } else if found.len() == MAX_ASKED {
                answers.not_asked += 1;
            } else if !found.iter().any(|(agent, _)| *agent == seat.agent) {
                found.push((seat.agent.clone(), seat.ask.clone()));
            }
        }
        answers.too_old.truncate(MAX_ASKED);
        found
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<u64, Seat>> {
        // Whoever panicked had only looked things up.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.questions.seats().remove(&self.number);
    }
}

impl Answers {
    fn add(&mut self, agent: AgentId, answer: answer::Answer) {
        match self.said.iter_mut().find(|(_, said)| agrees(said, &answer)) {
            Some((agents, _)) => agents.push(agent),
            None => self.said.push((vec![agent], answer)),
        }
    }
}

/// Whether two gateways say the same, but for the time at which they say it.
fn agrees(one: &answer::Answer, other: &answer::Answer) -> bool {
    use answer::Answer::{Explanation, Problem, Refusals};
    fn verdicts(of: &v1::Explanation) -> impl Iterator<Item = (&str, i32, &str)> {
        of.checks.iter().map(|check| (check.name.as_str(), check.outcome, check.code.as_str()))
    }
    match (one, other) {
        (Explanation(one), Explanation(other)) => {
            one.bundle_revision == other.bundle_revision
                && one.caller == other.caller
                && verdicts(one).eq(verdicts(other))
        }
        (Refusals(one), Refusals(other)) => one.refusals.is_empty() && one == other,
        (Problem(one), Problem(other)) => one == other,
        (Explanation(_) | Refusals(_) | Problem(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> answer::Answer {
        answer::Answer::Problem(text.to_owned())
    }

    /// Answers each question so, until it is dropped.
    fn agent(questions: &Arc<Questions>, pool: &str, id: &str, says: Option<&str>) {
        let mut seated = questions.seat(&pool.parse().unwrap(), &id.parse().unwrap(), true);
        let (id, says): (AgentId, _) = (id.parse().unwrap(), says.map(problem));
        tokio::spawn(async move {
            while let Some(Asked { answer_to, .. }) = seated.asked.recv().await {
                if let Some(says) = &says {
                    // The second counts for nothing.
                    answer_to.send((id.clone(), says.clone())).await.unwrap();
                    let _ = answer_to.send((id.clone(), problem("again"))).await;
                    let _ = answer_to.send(("stranger".parse().unwrap(), says.clone())).await;
                }
            }
        });
    }

    #[tokio::test(start_paused = true)]
    async fn the_gateways_of_a_tenant_s_pools_are_asked_and_those_that_agree_stand_together() {
        let questions = Arc::new(Questions::new());
        agent(&questions, "main", "one", Some("yes"));
        agent(&questions, "main", "two", Some("yes"));
        agent(&questions, "main", "three", Some("no"));
        agent(&questions, "main", "mute", None);
        agent(&questions, "side", "other", Some("yes"));
        let _old = questions.seat(&"main".parse().unwrap(), &"old".parse().unwrap(), false);
        let about = About::Credential("x".to_owned());
        let mut answers = questions.ask(&["main".parse().unwrap()], &"acme".parse().unwrap(), about).await;
        answers.said.iter_mut().for_each(|(agents, _)| agents.sort());
        answers.said.sort_by_key(|(agents, _)| agents.len());
        let ids = |ids: &[&str]| ids.iter().map(|id| id.parse().unwrap()).collect::<Vec<AgentId>>();
        assert_eq!(
            answers,
            Answers {
                said: vec![(ids(&["three"]), problem("no")), (ids(&["one", "two"]), problem("yes"))],
                silent: ids(&["mute"]),
                too_old: ids(&["old"]),
                not_asked: 0,
                is_busy: false,
            }
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_pool_is_asked_by_a_few_and_a_gateway_that_left_is_not_waited_for() {
        let questions = Arc::new(Questions::new());
        for number in 0..MAX_ASKED + 5 {
            agent(&questions, "main", &format!("agent-{number}"), Some("yes"));
        }
        drop(questions.seat(&"main".parse().unwrap(), &"gone".parse().unwrap(), true));
        let about = About::RequestId("x".to_owned());
        let answers = questions.ask(&["main".parse().unwrap()], &"acme".parse().unwrap(), about).await;
        assert_eq!((answers.said[0].0.len(), answers.not_asked), (MAX_ASKED, 5));
        assert!(answers.silent.is_empty() && answers.too_old.is_empty());
    }
}
