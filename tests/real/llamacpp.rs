//! The real llama.cpp server, in the two dialects that it has.

use crate::{World, clients, counts};
use std::rc::Rc;

/// Each client's script, and the path of its base address.
const CLIENTS: [(&str, &str, &str); 2] =
    [("openai", "openai_calls.py", "/v1"), ("anthropic", "anthropic_calls.py", "")];

pub(crate) async fn each_request_of_the_official_clients_is_counted_as_the_engine_counts(world: Rc<World>) {
    let Some(engine) = &world.llamacpp else { return };
    let (gateway, token) = world.gateway(engine).await;
    for (client, script, path) in CLIENTS {
        let direct = clients::calls(&world, script, &format!("{}{path}", engine.url()), "none", client).await;
        let before = generated(engine.port()).await;
        let through = format!("http://127.0.0.1:{}{path}", gateway.port);
        let replies = clients::calls(&world, script, &through, &token, client).await;
        counts::compare(&world, engine, client, &gateway, &replies, &direct);
        // Its own meter, which no client can have misread.
        let recorded: u64 = gateway
            .events()
            .iter()
            .filter(|event| replies.iter().any(|reply| event["request_id"] == *reply.request_id))
            .filter_map(|event| attach_tests::gateway::quantity(event, "output_tokens"))
            .sum();
        assert_eq!(generated(engine.port()).await - before, recorded);
    }
    counts::compare_sums(&world, engine, &gateway);
}

/// Tokens that the engine has generated since its start.
async fn generated(port: u16) -> u64 {
    let metrics = attach_tests::Client::new(port).get("/metrics").await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("llamacpp:tokens_predicted_total "));
    line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{metrics}"))
}
