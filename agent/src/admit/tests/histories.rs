//! Random histories of both stores against a model that keeps every charge and computes from the definition.

use super::*;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use std::collections::HashMap;

/// Long enough to reach limits, to let reservations lapse and windows pass; all of it is less than [`ALL_DAY`].
const MAX_STEPS: usize = 40;

/// A window in whose first bucket a whole history happens, so that it shows the sum of all charges.
const ALL_DAY: Duration = Duration::from_secs(36_000);

#[derive(Debug, Clone)]
enum Step {
    Admit {
        limits: u8,
        input: u64,
        at_least: u64,
        more: u64,
    },
    Extend {
        which: usize,
        more: u64,
    },
    Settle {
        which: usize,
        input: u64,
        output: u64,
    },
    /// Of one that was settled before.
    SettleAgain {
        which: usize,
    },
    Renew {
        which: usize,
    },
    Release {
        which: usize,
    },
    Pass {
        milliseconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0usize..8;
    prop_oneof![
        4 => (1u8..32, 0u64..200, 0u64..300, 0u64..600)
            .prop_map(|(limits, input, at_least, more)| Step::Admit { limits, input, at_least, more }),
        2 => (which.clone(), 1u64..300).prop_map(|(which, more)| Step::Extend { which, more }),
        3 => (which.clone(), 0u64..300, 0u64..1500)
            .prop_map(|(which, input, output)| Step::Settle { which, input, output }),
        1 => which.clone().prop_map(|which| Step::SettleAgain { which }),
        1 => which.clone().prop_map(|which| Step::Renew { which }),
        1 => which.prop_map(|which| Step::Release { which }),
        3 => prop_oneof![0u64..2_000, 10_000u64..70_000].prop_map(|milliseconds| Step::Pass { milliseconds }),
    ]
}

fn limits() -> [Applied; 5] {
    let of = |name: &str, measure, seconds, amount| Applied {
        limit: name.parse().unwrap(),
        counter_key: name.to_owned(),
        measure,
        window: Duration::from_secs(seconds),
        amount,
    };
    [
        of("requests", Measure::Requests, 60, 7),
        of("input", Measure::InputTokens, 1, 400),
        of("output", Measure::OutputTokens, 60, 2_000),
        of("total", Measure::TotalTokens, 3600, 5_000),
        of("all", Measure::TotalTokens, ALL_DAY.as_secs(), 1_000_000),
    ]
}

#[derive(Default)]
struct Model {
    now: u64,
    /// When, in which limit, how much.
    charges: Vec<(u64, usize, u64)>,
    live: HashMap<Uuid, Live>,
}

struct Live {
    limits: Vec<usize>,
    input: u64,
    output: u64,
    admitted_at: Option<u64>,
    lapses_at: u64,
}

fn tokens(measure: Measure, input: u64, output: u64) -> u64 {
    match measure {
        Measure::Requests => 0,
        Measure::InputTokens => input,
        Measure::OutputTokens => output,
        Measure::TotalTokens => input + output,
    }
}

impl Model {
    fn used(&self, limit: usize) -> u64 {
        let window = limits()[limit].window.as_millis() as u64;
        let bucket = self.now / window;
        let sum = |wanted: u64| -> u64 {
            let charges = self.charges.iter().filter(|(at, of, _)| *of == limit && at / window == wanted);
            charges.map(|(_, _, amount)| amount).sum()
        };
        let rest = window - self.now % window;
        sum(bucket) + (sum(bucket - 1) * rest).div_ceil(window)
    }

    fn reserved(&self, limit: usize) -> u64 {
        let measure = limits()[limit].measure;
        let held =
            self.live.values().filter(|live| live.lapses_at > self.now && live.limits.contains(&limit));
        held.map(|live| tokens(measure, live.input, live.output)).sum()
    }

    fn free(&self, limit: usize) -> u64 {
        limits()[limit].amount.saturating_sub(self.used(limit) + self.reserved(limit))
    }

    fn lapses(&self) -> u64 {
        self.now + RESERVATION_LIFE.as_millis() as u64
    }

    fn is_live(&self, id: Uuid) -> bool {
        self.live.get(&id).is_some_and(|live| live.lapses_at > self.now)
    }

    /// The output that is granted.
    fn admit(&mut self, ask: &Ask, asked: Vec<usize>) -> Option<u64> {
        let OutputAsk { at_least, at_most } = ask.output;
        let fits = |output: u64| {
            asked.iter().all(|&limit| match limits()[limit].measure {
                Measure::Requests => self.free(limit) >= 1,
                measure @ (Measure::InputTokens | Measure::OutputTokens | Measure::TotalTokens) => {
                    self.free(limit) >= tokens(measure, ask.input, output)
                }
            })
        };
        let output = (at_least..=at_most).rev().find(|output| fits(*output))?;
        for &limit in asked.iter().filter(|limit| limits()[**limit].measure == Measure::Requests) {
            self.charges.push((self.now, limit, 1));
        }
        let (admitted_at, lapses_at) = (Some(self.now), self.lapses());
        self.live.insert(ask.id, Live { limits: asked, input: ask.input, output, admitted_at, lapses_at });
        Some(output)
    }

    fn extend(&mut self, id: Uuid, output: u64) -> bool {
        let (is_live, lapses_at) = (self.is_live(id), self.lapses());
        let live = &self.live[&id];
        let (more_input, more_output) =
            if is_live { (0, output - live.output) } else { (live.input, output) };
        let fits = live.limits.iter().all(|&limit| {
            let more = tokens(limits()[limit].measure, more_input, more_output);
            more == 0 || more <= self.free(limit)
        });
        if fits {
            let live = self.live.get_mut(&id).unwrap();
            (live.output, live.lapses_at) = (output, lapses_at);
            live.admitted_at = live.admitted_at.filter(|_| is_live);
        }
        fits
    }

    fn renew(&mut self, id: Uuid) {
        let (is_live, lapses_at) = (self.is_live(id), self.lapses());
        let live = self.live.get_mut(&id).unwrap();
        live.lapses_at = lapses_at;
        live.admitted_at = live.admitted_at.filter(|_| is_live);
    }

    fn settle(&mut self, id: Uuid, input: u64, output: u64) {
        let live = self.live.remove(&id).unwrap();
        for limit in live.limits {
            self.charges.push((self.now, limit, tokens(limits()[limit].measure, input, output)));
        }
    }

    fn release(&mut self, id: Uuid) {
        let is_live = self.is_live(id);
        let live = self.live.remove(&id).unwrap();
        if let Some(at) = live.admitted_at.filter(|_| is_live && live.limits.contains(&0)) {
            let charge = self.charges.iter().position(|charge| *charge == (at, 0, 1));
            self.charges.swap_remove(charge.unwrap());
        }
    }
}

/// Both stores reclaim a few of what lapsed at each admission: enough of these and all is reclaimed.
async fn settle_down(stage: &Stage, tenant: &TenantId) {
    for _ in 0..MAX_STEPS / 4 + 1 {
        let impossible = Applied { counter_key: "none".to_owned(), ..limit(Measure::Requests, 0) };
        refused(stage.other.admit(Ask { tenant: tenant.clone(), ..ask(vec![impossible]) }).await.unwrap());
    }
}

async fn states(stage: &Stage, tenant: &TenantId) -> Vec<(u64, u64)> {
    let mut states = Vec::new();
    for limit in limits() {
        let impossible = Applied { amount: 0, ..limit };
        let ask = Ask { tenant: tenant.clone(), output: exactly(1), ..ask(vec![impossible]) };
        let reached = refused(stage.other.admit(ask).await.unwrap());
        states.push((reached.used, reached.reserved));
    }
    states
}

async fn history(stage: &Stage, steps: &[Step]) -> Result<(), TestCaseError> {
    let tenant: TenantId = Uuid::now_v7().to_string().parse().unwrap();
    let mut model = Model { now: START, ..Model::default() };
    stage.clock.store(START, Ordering::Relaxed);
    let mut live: Vec<Reservation> = Vec::new();
    let mut settled: Vec<Settlement> = Vec::new();
    let mut actual = 0;
    let pick = |from: usize, which: usize| (from > 0).then(|| which % from);

    for (n, step) in steps.iter().enumerate() {
        let store = if n % 2 == 0 { &stage.store } else { &stage.other };
        match *step {
            Step::Admit { limits: mask, input, at_least, more } => {
                let asked: Vec<usize> = (0..5).filter(|n| mask & (1 << n) != 0).collect();
                let applied = asked.iter().map(|&n| limits()[n].clone()).collect();
                let output = OutputAsk { at_least, at_most: at_least + more };
                let ask = Ask { input, output, tenant: tenant.clone(), ..ask(applied) };
                let expected = model.admit(&ask, asked.clone());
                match store.admit(ask).await.unwrap() {
                    Admission::Admitted(admitted) => {
                        prop_assert_eq!(Some(admitted.output), expected);
                        for limit in asked {
                            let amount = limits()[limit].amount;
                            // What was settled above its reservation is there already; a request adds to it only
                            // where it asks for nothing.
                            let adds = limits()[limit].measure == Measure::Requests
                                || tokens(limits()[limit].measure, input, admitted.output) > 0;
                            prop_assert!(!adds || model.used(limit) + model.reserved(limit) <= amount);
                        }
                        live.push(admitted.reservation);
                    }
                    Admission::Refused(_) => prop_assert_eq!(None, expected),
                }
            }
            Step::Extend { which, more } => {
                if let Some(which) = pick(live.len(), which) {
                    let reservation = &mut live[which];
                    let expected = model.extend(reservation.id(), reservation.output() + more);
                    prop_assert_eq!(store.extend(reservation, more).await.unwrap(), expected);
                }
            }
            Step::Settle { which, input, output } => {
                if let Some(which) = pick(live.len(), which) {
                    let settlement = settlement(&live.swap_remove(which), input, output);
                    if settlement.reservation.limits.iter().any(|limit| limit.counter_key == "all") {
                        actual += input + output;
                    }
                    model.settle(settlement.reservation.id(), input, output);
                    store.settle(vec![settlement.clone()]).await;
                    settled.push(settlement);
                }
            }
            Step::SettleAgain { which } => {
                // For as long as a store remembers it.
                settled.truncate(8);
                if let Some(which) = pick(settled.len(), which) {
                    store.settle(vec![settled[which].clone()]).await;
                }
            }
            Step::Renew { which } => {
                if let Some(which) = pick(live.len(), which) {
                    model.renew(live[which].id());
                    store.renew(&live[which..=which]).await;
                }
            }
            Step::Release { which } => {
                if let Some(which) = pick(live.len(), which) {
                    let id = live.swap_remove(which).id();
                    model.release(id);
                    store.release(&tenant, id).await;
                }
            }
            Step::Pass { milliseconds } => {
                model.now += milliseconds;
                stage.clock.store(model.now, Ordering::Relaxed);
                settle_down(stage, &tenant).await;
                settled.clear();
            }
        }
        let expected: Vec<_> = (0..5).map(|n| (model.used(n), model.reserved(n))).collect();
        prop_assert_eq!(states(stage, &tenant).await, expected, "after step {} {:?}", n, step);
    }

    model.now += RESERVATION_LIFE.as_millis() as u64;
    stage.clock.store(model.now, Ordering::Relaxed);
    settle_down(stage, &tenant).await;
    let states = states(stage, &tenant).await;
    prop_assert!(states.iter().all(|(_, reserved)| *reserved == 0), "still reserved: {:?}", states);
    prop_assert_eq!(states[4].0, actual, "the sum of what was settled is the sum of what was consumed");
    Ok(())
}

fn histories(stage: &Stage, cases: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tasks = LocalSet::new();
    for store in [stage.store.clone(), stage.other.clone()] {
        tasks.spawn_local(async move { store.run().await });
    }
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&proptest::collection::vec(step(), 1..MAX_STEPS), |steps| {
            tasks.block_on(&runtime, history(stage, &steps))
        })
        .unwrap();
}

#[test]
fn any_history_in_memory_is_that_of_the_model() {
    histories(&Stage::local(), 1000);
}

#[test]
fn any_history_on_redis_is_that_of_the_model() {
    if let Some(stage) = Stage::redis() {
        histories(&stage, 64);
    }
}
