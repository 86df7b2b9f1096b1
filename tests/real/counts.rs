//! The engine's own counts beside the recorded ones.

use crate::{World, clients::Reply, engines::Engine};
use attach_tests::{Gateway, gateway::quantity};
use serde_json::Value;

/// A request: what the engine told the client, and what the usage says.
pub(crate) struct Row {
    engine: &'static str,
    client: &'static str,
    kind: String,
    by_engine: (u64, u64),
    recorded: (u64, u64),
}

/// The events of a request, as the operator sees them, without any wait: a whole answer has left only when its usage
/// was durable.
pub(crate) fn events_of(gateway: &Gateway, request_id: &str) -> Vec<Value> {
    let output = gateway.command(&["usage", "--events", "--json", "--request-id", request_id]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect()
}

/// For answers that broke off, or that the engine refused: the event is on its way when the client has its end.
pub(crate) async fn event_on_its_way(gateway: &Gateway, request_id: &str) -> Value {
    let patience = std::time::Duration::from_secs(5);
    let events = attach_tests::eventually("the event", patience, async || {
        Some(events_of(gateway, request_id)).filter(|events| !events.is_empty())
    });
    let [event] = events.await.try_into().expect("exactly one event");
    event
}

/// Each reply was recorded with the counts that the client got, and has the text that the engine gives without us.
pub(crate) fn compare(
    world: &World,
    engine: &Engine,
    client: &'static str,
    gateway: &Gateway,
    replies: &[Reply],
    direct: &[Reply],
) {
    assert_eq!(replies.len(), direct.len());
    for (reply, direct) in replies.iter().zip(direct) {
        assert_eq!(reply.text, direct.text, "{}: the same question gets the same text", reply.request_id);
        assert_eq!(reply.counts, direct.counts, "{}: and the same counts", reply.request_id);
        assert!(!reply.text.is_empty(), "{}: nothing was said", reply.request_id);
        let by_engine = reply.counts.unwrap_or_else(|| twin(reply, replies));
        let [event] = events_of(gateway, &reply.request_id).try_into().expect("exactly one event");
        assert_eq!(event["outcome"], "OUTCOME_COMPLETE", "{event:#}");
        let row = Row {
            engine: engine.name(),
            client,
            kind: reply.kind.clone(),
            by_engine,
            recorded: (of_engine(&event, "input_tokens"), of_engine(&event, "output_tokens")),
        };
        assert_eq!(row.by_engine, row.recorded, "{event:#}");
        world.rows.borrow_mut().push(row);
    }
}

/// Counts of the same request whose client asked for them.
fn twin(reply: &Reply, replies: &[Reply]) -> (u64, u64) {
    let kind = reply.kind.strip_suffix("-unasked").expect("all others ask");
    let twin = replies.iter().find(|other| other.kind == kind).expect("asked too");
    assert_eq!(reply.text, twin.text);
    twin.counts.expect("asked")
}

/// An estimate would be a failure, even a right one.
fn of_engine(event: &Value, kind: &str) -> u64 {
    let measures = event["measures"].as_array().expect("a whole answer has measures");
    let measure = measures.iter().find(|measure| measure["kind"] == kind);
    let measure = measure.unwrap_or_else(|| panic!("no {kind}: {event:#}"));
    assert_eq!(measure["source"], "MEASURE_SOURCE_ENGINE", "{event:#}");
    quantity(event, kind).expect("a number")
}

/// The sums of `attach-gateway usage` are those of the rows.
pub(crate) fn compare_sums(world: &World, engine: &Engine, gateway: &Gateway) {
    let table = gateway.command(&["usage"]);
    println!("$ attach-gateway usage\n{}", String::from_utf8_lossy(&table.stdout).trim_end());
    let output = gateway.command(&["usage", "--json"]);
    let usage: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rows = world.rows.borrow();
    let of_engine: Vec<_> = rows.iter().filter(|row| row.engine == engine.name()).collect();
    let total = &usage["total"];
    assert_eq!(total["requests"], of_engine.len(), "{usage:#}");
    assert_eq!(total["input_tokens"], of_engine.iter().map(|row| row.by_engine.0).sum::<u64>(), "{usage:#}");
    assert_eq!(total["output_tokens"], of_engine.iter().map(|row| row.by_engine.1).sum::<u64>(), "{usage:#}");
}

pub(crate) fn print(rows: &[Row]) {
    if rows.is_empty() {
        return;
    }
    println!(
        "\n{:<10} {:<10} {:<20} {:>14} {:>14}",
        "engine", "client", "request", "engine's count", "recorded"
    );
    for row in rows {
        let count = |(input, output): (u64, u64)| format!("{input} + {output}");
        let (by_engine, recorded) = (count(row.by_engine), count(row.recorded));
        println!("{:<10} {:<10} {:<20} {by_engine:>14} {recorded:>14}", row.engine, row.client, row.kind);
    }
}
