//! What both stores must do alike.

use super::*;

macro_rules! on_both_stores {
    ($($name:ident),* $(,)?) => {
        mod local {
            $(#[test] fn $name() { super::Stage::local().run(super::$name); })*
        }
        mod redis {
            $(#[test] fn $name() { if let Some(stage) = super::Stage::redis() { stage.run(super::$name); } })*
        }
    };
}

on_both_stores!(
    exactly_as_many_of_64_callers_at_once_are_admitted_as_fit,
    two_agents_share_one_limit,
    a_caller_whom_the_third_limit_refuses_leaves_nothing_in_the_others,
    a_caller_gets_the_largest_output_that_fits_every_token_limit,
    a_caller_is_told_which_limit_refused_and_when_to_come_back,
    a_caller_who_asks_for_more_than_a_limit_has_is_told_that_no_wait_helps,
    tokens_are_held_until_settled_and_then_are_what_was_consumed,
    a_settlement_above_the_reservation_is_charged_whole,
    a_caller_who_asks_nothing_of_an_overdrawn_limit_is_admitted,
    a_second_settlement_changes_nothing,
    one_batch_settles_many_reservations_of_two_tenants,
    a_request_stays_charged_when_its_tokens_are_given_back,
    a_stream_is_extended_to_the_last_token_and_no_further,
    a_stream_that_repeats_a_lost_extension_is_not_charged_twice,
    a_window_slides,
    the_reservation_of_a_dead_holder_lapses_and_its_late_settlement_still_counts,
    many_dead_reservations_are_reclaimed_by_those_who_come_next,
    a_stream_is_not_cut_for_what_the_dead_hold,
    a_renewed_reservation_outlives_its_first_life,
    a_renewal_brings_back_a_reservation_that_lapsed,
    an_admission_that_arrives_after_its_release_is_refused,
    a_released_admission_is_undone_with_its_request,
    a_repeated_admission_reserves_once,
    hostile_counter_keys_do_not_meet,
    a_request_without_limits_costs_nothing,
    a_month_is_reckoned_without_admitting_too_much,
    amounts_beyond_reckoning_are_no_limit,
);

async fn exactly_as_many_of_64_callers_at_once_are_admitted_as_fit(stage: Stage) {
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..64 {
        let store = if n % 2 == 0 { stage.store.clone() } else { stage.other.clone() };
        // 110 tokens each.
        let ask = ask(vec![limit(Measure::TotalTokens, 20 * 110 + 109), limit(Measure::Requests, 60)]);
        callers.spawn_local(async move { matches!(store.admit(ask).await.unwrap(), Admission::Admitted(_)) });
    }
    assert_eq!(callers.join_all().await.into_iter().filter(|admitted| *admitted).count(), 20);
    assert_eq!(stage.state(&limit(Measure::TotalTokens, 0)).await, (0, 2200));
    assert_eq!(stage.state(&limit(Measure::Requests, 0)).await, (20, 0));
}

async fn two_agents_share_one_limit(stage: Stage) {
    let requests = limit(Measure::Requests, 3);
    admitted(stage.store.admit(ask(vec![requests.clone()])).await.unwrap());
    admitted(stage.other.admit(ask(vec![requests.clone()])).await.unwrap());
    let last = admitted(stage.store.admit(ask(vec![requests.clone()])).await.unwrap());
    assert_eq!(last.standing[0].remaining, 0);
    assert_eq!(refused(stage.other.admit(ask(vec![requests])).await.unwrap()).used, 3);
}

async fn a_caller_whom_the_third_limit_refuses_leaves_nothing_in_the_others(stage: Stage) {
    let limits = || {
        vec![limit(Measure::Requests, 9), limit(Measure::InputTokens, 900), limit(Measure::OutputTokens, 150)]
    };
    admitted(stage.store.admit(ask(limits())).await.unwrap());
    for _ in 0..5 {
        let reached = refused(stage.store.admit(ask(limits())).await.unwrap());
        assert_eq!(reached.measure, Measure::OutputTokens);
    }
    assert_eq!(stage.state(&limits()[0]).await, (1, 0));
    assert_eq!(stage.state(&limits()[1]).await, (0, 10));
    assert_eq!(stage.state(&limits()[2]).await, (0, 100));
}

async fn a_caller_gets_the_largest_output_that_fits_every_token_limit(stage: Stage) {
    let limits = vec![limit(Measure::OutputTokens, 500), limit(Measure::TotalTokens, 300)];
    let ask = Ask { output: OutputAsk { at_least: 1, at_most: 4096 }, ..ask(limits.clone()) };
    let admitted = admitted(stage.store.admit(ask).await.unwrap());
    assert_eq!((admitted.output, admitted.reservation.output()), (290, 290));
    let remaining: Vec<u64> = admitted.standing.iter().map(|standing| standing.remaining).collect();
    assert_eq!(remaining, [210, 0]);
}

async fn a_caller_is_told_which_limit_refused_and_when_to_come_back(stage: Stage) {
    let tokens = limit(Measure::TotalTokens, 1000);
    let held =
        admitted(stage.store.admit(Ask { output: exactly(790), ..ask(vec![tokens.clone()]) }).await.unwrap());
    stage.store.settle(vec![settlement(&held.reservation, 10, 790)]).await;
    stage.pass(MINUTE / 2);
    let ask = || Ask { output: exactly(590), ..ask(vec![tokens.clone()]) };
    let reached = refused(stage.store.admit(ask()).await.unwrap());
    assert_eq!((reached.used, reached.reserved, reached.amount), (800, 0, 1000));
    // Half of the 800 must go: 30 s to the end of the bucket and half of the next.
    let wait = reached.retry_after.unwrap();
    assert_eq!(wait, Duration::from_secs(60));
    stage.pass(wait - Duration::from_millis(1));
    refused(stage.store.admit(ask()).await.unwrap());
    stage.pass(Duration::from_millis(1));
    admitted(stage.store.admit(ask()).await.unwrap());
}

async fn a_caller_who_asks_for_more_than_a_limit_has_is_told_that_no_wait_helps(stage: Stage) {
    let limits = vec![limit(Measure::Requests, 0), limit(Measure::TotalTokens, 109)];
    let reached = refused(stage.store.admit(ask(limits)).await.unwrap());
    assert_eq!((reached.measure, reached.retry_after), (Measure::TotalTokens, None));
}

async fn tokens_are_held_until_settled_and_then_are_what_was_consumed(stage: Stage) {
    let limits = [
        limit(Measure::InputTokens, 1000),
        limit(Measure::OutputTokens, 1000),
        limit(Measure::TotalTokens, 1000),
    ];
    let held = admitted(stage.store.admit(ask(limits.to_vec())).await.unwrap());
    for (limit, reserved) in limits.iter().zip([10, 100, 110]) {
        assert_eq!(stage.state(limit).await, (0, reserved));
    }
    stage.store.settle(vec![settlement(&held.reservation, 9, 33)]).await;
    for (limit, used) in limits.iter().zip([9, 33, 42]) {
        assert_eq!(stage.state(limit).await, (used, 0));
    }
}

async fn a_settlement_above_the_reservation_is_charged_whole(stage: Stage) {
    let tokens = limit(Measure::TotalTokens, 200);
    let held = admitted(stage.store.admit(ask(vec![tokens.clone()])).await.unwrap());
    stage.store.settle(vec![settlement(&held.reservation, 10, 490)]).await;
    assert_eq!(stage.state(&tokens).await, (500, 0));
    assert_eq!(refused(stage.store.admit(ask(vec![tokens])).await.unwrap()).used, 500);
}

async fn a_caller_who_asks_nothing_of_an_overdrawn_limit_is_admitted(stage: Stage) {
    let tokens = limit(Measure::OutputTokens, 200);
    let held = admitted(stage.store.admit(ask(vec![tokens.clone()])).await.unwrap());
    stage.store.settle(vec![settlement(&held.reservation, 10, 500)]).await;
    let embedding = Ask { output: exactly(0), ..ask(vec![tokens, limit(Measure::InputTokens, 100)]) };
    admitted(stage.store.admit(embedding).await.unwrap());
}

async fn a_second_settlement_changes_nothing(stage: Stage) {
    let tokens = limit(Measure::TotalTokens, 1000);
    let held = admitted(stage.store.admit(ask(vec![tokens.clone()])).await.unwrap());
    let settlement = settlement(&held.reservation, 10, 20);
    stage.store.settle(vec![settlement.clone(), settlement.clone()]).await;
    stage.other.settle(vec![settlement]).await;
    stage.store.release(&tenant(), held.reservation.id()).await;
    let mut late = held.reservation.clone();
    assert!(!stage.store.extend(&mut late, 1).await.unwrap(), "extended after its end");
    stage.store.renew(&[held.reservation]).await;
    assert_eq!(stage.state(&tokens).await, (30, 0));
}

async fn one_batch_settles_many_reservations_of_two_tenants(stage: Stage) {
    let tokens = limit(Measure::TotalTokens, 1_000_000);
    let mut batch = Vec::new();
    for n in 0..150 {
        let tenant = if n % 2 == 0 { "acme" } else { "globex" }.parse().unwrap();
        let held = admitted(stage.store.admit(Ask { tenant, ..ask(vec![tokens.clone()]) }).await.unwrap());
        batch.push(settlement(&held.reservation, 1, 2));
    }
    stage.store.settle(batch).await;
    assert_eq!(stage.state(&tokens).await, (75 * 3, 0));
}

async fn a_request_stays_charged_when_its_tokens_are_given_back(stage: Stage) {
    let limits = vec![limit(Measure::Requests, 10), limit(Measure::TotalTokens, 1000)];
    let held = admitted(stage.store.admit(ask(limits.clone())).await.unwrap());
    stage.store.settle(vec![settlement(&held.reservation, 0, 0)]).await;
    assert_eq!(stage.state(&limits[0]).await, (1, 0));
    assert_eq!(stage.state(&limits[1]).await, (0, 0));
}

async fn a_stream_is_extended_to_the_last_token_and_no_further(stage: Stage) {
    let limits = vec![limit(Measure::TotalTokens, 1000), limit(Measure::OutputTokens, 400)];
    let mut held = admitted(stage.store.admit(ask(limits.clone())).await.unwrap()).reservation;
    assert!(stage.store.extend(&mut held, 256).await.unwrap());
    assert!(!stage.store.extend(&mut held, 45).await.unwrap());
    assert_eq!(stage.state(&limits[0]).await, (0, 366), "a refused extension left something");
    assert!(stage.store.extend(&mut held, 44).await.unwrap());
    assert_eq!(held.output(), 400);
    stage.store.settle(vec![settlement(&held, 10, 399)]).await;
    assert_eq!(stage.state(&limits[0]).await, (409, 0));
    assert_eq!(stage.state(&limits[1]).await, (399, 0));
}

async fn a_stream_that_repeats_a_lost_extension_is_not_charged_twice(stage: Stage) {
    let tokens = limit(Measure::OutputTokens, 1000);
    let held = admitted(stage.store.admit(ask(vec![tokens.clone()])).await.unwrap()).reservation;
    let mut without_answer = held.clone();
    assert!(stage.store.extend(&mut without_answer, 256).await.unwrap());
    let mut again = held;
    assert!(stage.store.extend(&mut again, 256).await.unwrap());
    assert_eq!(stage.state(&tokens).await, (0, 356));
}

async fn a_window_slides(stage: Stage) {
    let requests = limit(Measure::Requests, 60);
    for _ in 0..60 {
        admitted(stage.store.admit(ask(vec![requests.clone()])).await.unwrap());
    }
    refused(stage.store.admit(ask(vec![requests.clone()])).await.unwrap());
    stage.pass(MINUTE);
    refused(stage.store.admit(ask(vec![requests.clone()])).await.unwrap());
    for (seconds, used) in [(1, 59), (19, 40), (39, 1), (1, 0)] {
        stage.pass(Duration::from_secs(seconds));
        assert_eq!(stage.state(&requests).await.0, used);
    }
    stage.pass(10 * MINUTE);
    assert_eq!(stage.state(&requests).await, (0, 0));
}

async fn the_reservation_of_a_dead_holder_lapses_and_its_late_settlement_still_counts(stage: Stage) {
    let tokens = Applied { window: 60 * MINUTE, ..limit(Measure::TotalTokens, 1000) };
    let held = admitted(stage.store.admit(ask(vec![tokens.clone()])).await.unwrap()).reservation;
    stage.pass(RESERVATION_LIFE - Duration::from_millis(1));
    assert_eq!(stage.state(&tokens).await, (0, 110));
    stage.pass(Duration::from_millis(1));
    assert_eq!(stage.state(&tokens).await, (0, 0));
    stage.store.settle(vec![settlement(&held, 10, 50)]).await;
    stage.store.settle(vec![settlement(&held, 10, 50)]).await;
    assert_eq!(stage.state(&tokens).await, (60, 0));
}

async fn many_dead_reservations_are_reclaimed_by_those_who_come_next(stage: Stage) {
    let tokens = limit(Measure::TotalTokens, 1_000_000);
    for _ in 0..40 {
        admitted(stage.store.admit(ask(vec![tokens.clone()])).await.unwrap());
    }
    stage.pass(RESERVATION_LIFE);
    for _ in 0..10 {
        stage.state(&tokens).await;
    }
    assert_eq!(stage.state(&tokens).await, (0, 0));
}

async fn a_stream_is_not_cut_for_what_the_dead_hold(stage: Stage) {
    let tokens = Applied { window: 60 * MINUTE, ..limit(Measure::OutputTokens, 300) };
    admitted(stage.store.admit(ask(vec![tokens.clone()])).await.unwrap());
    stage.pass(RESERVATION_LIFE / 2);
    let mut live = admitted(stage.store.admit(ask(vec![tokens])).await.unwrap()).reservation;
    stage.pass(RESERVATION_LIFE / 2);
    assert!(stage.store.extend(&mut live, 200).await.unwrap());
}

async fn a_renewed_reservation_outlives_its_first_life(stage: Stage) {
    let tokens = Applied { window: Duration::from_secs(1), ..limit(Measure::TotalTokens, 1000) };
    let held = admitted(stage.store.admit(ask(vec![tokens.clone()])).await.unwrap()).reservation;
    for _ in 0..6 {
        stage.pass(RENEWAL_INTERVAL);
        stage.other.renew(std::slice::from_ref(&held)).await;
    }
    assert_eq!(stage.state(&tokens).await, (0, 110));
    stage.pass(RESERVATION_LIFE);
    assert_eq!(stage.state(&tokens).await, (0, 0));
}

async fn a_renewal_brings_back_a_reservation_that_lapsed(stage: Stage) {
    let tokens = limit(Measure::TotalTokens, 1000);
    let mut held = admitted(stage.store.admit(ask(vec![tokens.clone()])).await.unwrap()).reservation;
    stage.pass(RESERVATION_LIFE);
    assert_eq!(stage.state(&tokens).await, (0, 0));
    stage.store.renew(std::slice::from_ref(&held)).await;
    assert_eq!(stage.state(&tokens).await, (0, 110));
    stage.pass(RESERVATION_LIFE);
    assert_eq!(stage.state(&tokens).await, (0, 0));
    assert!(stage.store.extend(&mut held, 40).await.unwrap(), "an extension brings it back as well");
    assert_eq!(stage.state(&tokens).await, (0, 150));
    stage.pass(RESERVATION_LIFE);
    assert_eq!(stage.state(&tokens).await, (0, 0));
    assert!(!stage.store.extend(&mut held, 851).await.unwrap(), "but not if the whole does not fit");
}

async fn an_admission_that_arrives_after_its_release_is_refused(stage: Stage) {
    let ask = ask(vec![limit(Measure::Requests, 10)]);
    stage.other.release(&ask.tenant, ask.id).await;
    assert_eq!(stage.store.admit(ask).await.unwrap_err(), StoreFault::Released);
    assert_eq!(stage.state(&limit(Measure::Requests, 10)).await, (0, 0));
}

async fn a_released_admission_is_undone_with_its_request(stage: Stage) {
    let limits = vec![limit(Measure::Requests, 10), limit(Measure::TotalTokens, 1000)];
    admitted(stage.store.admit(ask(limits.clone())).await.unwrap());
    let lost = ask(limits.clone());
    admitted(stage.store.admit(lost.clone()).await.unwrap());
    stage.pass(MINUTE / 2);
    stage.store.release(&lost.tenant, lost.id).await;
    stage.store.release(&lost.tenant, lost.id).await;
    assert_eq!(stage.state(&limits[0]).await, (1, 0));
    assert_eq!(stage.state(&limits[1]).await, (0, 110));
}

async fn a_repeated_admission_reserves_once(stage: Stage) {
    let limits = vec![limit(Measure::Requests, 10), limit(Measure::TotalTokens, 1000)];
    let ask = ask(limits.clone());
    let first = admitted(stage.store.admit(ask.clone()).await.unwrap());
    let again = admitted(stage.other.admit(ask).await.unwrap());
    assert_eq!(first.output, again.output);
    assert_eq!(stage.state(&limits[0]).await, (1, 0));
    assert_eq!(stage.state(&limits[1]).await, (0, 110));
}

async fn hostile_counter_keys_do_not_meet(stage: Stage) {
    let long = "x".repeat(5000);
    let keys = [
        "",
        " ",
        "r",
        "h",
        "}:r",
        "{globex}",
        "*",
        "a\r\nFLUSHALL\r\n",
        "a\0b",
        "a\0c",
        "'",
        "\\",
        "\u{1F600}",
        "=",
        "#",
        &long,
        &long[1..],
    ];
    for key in keys {
        let limits = vec![
            Applied { counter_key: key.to_owned(), ..limit(Measure::Requests, 1) },
            Applied { counter_key: format!("t{key}"), ..limit(Measure::TotalTokens, 110) },
        ];
        let held = admitted(stage.store.admit(ask(limits.clone())).await.unwrap()).reservation;
        assert_eq!(refused(stage.store.admit(ask(limits.clone())).await.unwrap()).used, 1, "{key:?}");
        stage.store.settle(vec![settlement(&held, 1, 1)]).await;
        assert_eq!(stage.state(&limits[1]).await, (2, 0), "{key:?}");
    }
    if let Some(server) = &stage.server {
        let others = server.command(&[b"EVAL", br"
            local others = 0
            for _, key in ipairs(redis.call('KEYS', '*')) do
              if key:sub(1, 14) ~= 'attach:{acme}:' or redis.call('TTL', key) < 0 or #key > 300 then others = others + 1 end
            end
            return others", b"0"]);
        assert_eq!(others.unwrap(), ":0\r\n", "keys outside the tenant's, endless or long");
    }
}

async fn a_request_without_limits_costs_nothing(stage: Stage) {
    let ask = Ask { output: OutputAsk { at_least: 1, at_most: 7 }, ..ask(Vec::new()) };
    let mut admitted = admitted(stage.store.admit(ask).await.unwrap());
    assert_eq!(admitted.output, 7);
    assert!(stage.store.extend(&mut admitted.reservation, 1000).await.unwrap());
    stage.store.renew(std::slice::from_ref(&admitted.reservation)).await;
    stage.store.settle(vec![settlement(&admitted.reservation, 1, 1)]).await;
}

async fn a_month_is_reckoned_without_admitting_too_much(stage: Stage) {
    let amount = 1 << 49;
    let tokens = Applied { window: 30 * 24 * 60 * MINUTE, ..limit(Measure::InputTokens, amount) };
    let ask = |input| Ask { input, ..ask(vec![tokens.clone()]) };
    stage.pass(tokens.window - Duration::from_millis(START % tokens.window.as_millis() as u64));
    let held = admitted(stage.store.admit(ask(amount)).await.unwrap()).reservation;
    stage.store.settle(vec![settlement(&held, amount, 0)]).await;
    stage.pass(tokens.window + tokens.window / 3);
    let free = amount - stage.state(&tokens).await.0;
    let exact = amount / 3;
    assert!(free <= exact && exact - free < amount / 1_000_000, "{free} of {exact}");
    refused(stage.store.admit(ask(free + 1)).await.unwrap());
    admitted(stage.store.admit(ask(free)).await.unwrap());
}

async fn amounts_beyond_reckoning_are_no_limit(stage: Stage) {
    let tokens = limit(Measure::TotalTokens, u64::MAX);
    let ask = Ask { output: OutputAsk { at_least: 1, at_most: u64::MAX }, ..ask(vec![tokens.clone()]) };
    let held = admitted(stage.store.admit(ask).await.unwrap());
    assert!(held.output > 1_000_000_000_000_000);
    stage.store.settle(vec![settlement(&held.reservation, u64::MAX, u64::MAX)]).await;
    assert!(stage.state(&tokens).await.0 > 1_000_000_000_000_000);
}
