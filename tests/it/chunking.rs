//! Whatever the pieces an engine's answer comes in, its bytes reach the caller, and its tokens are counted.

use attach_tests::{
    Client, Engine, Gateway, Issuer, Script,
    engine::{Step, samples},
    gateway::{Setup, quantity},
};
use bytes::Bytes;
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use serde_json::{Value, json};

#[derive(Debug, Clone, Copy)]
enum Wire {
    OpenAi,
    /// The caller does not ask for usage, so that the event which has it is not for its eyes (DESIGN 5.9).
    OpenAiHiding,
    Ollama,
    Anthropic,
}

impl Wire {
    fn path(self) -> &'static str {
        match self {
            Self::OpenAi | Self::OpenAiHiding => "/v1/chat/completions",
            Self::Ollama => "/api/chat",
            Self::Anthropic => "/v1/messages",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Ollama => "application/x-ndjson",
            Self::OpenAi | Self::OpenAiHiding | Self::Anthropic => "text/event-stream",
        }
    }

    fn body(self) -> Value {
        let mut body = json!({"model": "tiny", "stream": true, "max_tokens": 200, "messages": []});
        if matches!(self, Self::OpenAi) {
            body["stream_options"] = json!({"include_usage": true});
        }
        body
    }

    fn chunks(self, output: u64) -> Vec<Bytes> {
        match self {
            Self::OpenAi | Self::OpenAiHiding => samples::openai_chunks(9, output),
            Self::Ollama => samples::ollama_chunks(9, output),
            Self::Anthropic => samples::anthropic_chunks(9, output),
        }
    }

    fn is_hidden(self, chunk: &Bytes) -> bool {
        matches!(self, Self::OpenAiHiding) && String::from_utf8_lossy(chunk).contains("\"usage\"")
    }
}

#[derive(Debug, Clone)]
struct Case {
    wire: Wire,
    output: u64,
    /// Where the answer is cut into the chunks of HTTP, as shares of what is left.
    cuts: Vec<f64>,
    /// Where the bytes on the wire, framing included, are cut into writes with a pause after each.
    writes: Vec<f64>,
}

fn case() -> impl Strategy<Value = Case> {
    let wire =
        prop_oneof![Just(Wire::OpenAi), Just(Wire::OpenAiHiding), Just(Wire::Ollama), Just(Wire::Anthropic)];
    let cuts = prop::collection::vec(0.0..1.0, 0..40);
    let writes = prop::collection::vec(0.0..1.0, 0..8);
    (wire, 1_u64..20, cuts, writes).prop_map(|(wire, output, cuts, writes)| Case {
        wire,
        output,
        cuts,
        writes,
    })
}

/// The pieces between the places, which are shares of the whole.
fn cut(whole: &[u8], places: &[f64]) -> Vec<Bytes> {
    let mut places: Vec<usize> = places.iter().map(|place| (place * whole.len() as f64) as usize).collect();
    places.sort_unstable();
    let ends = places.iter().copied().chain([whole.len()]);
    let starts = std::iter::once(0).chain(places.iter().copied());
    let pieces = starts.zip(ends).map(|(start, end)| Bytes::copy_from_slice(&whole[start..end]));
    pieces.filter(|piece| !piece.is_empty()).collect()
}

/// The answer as it is on the wire: each piece one chunk of HTTP, cut again into writes.
fn script(case: &Case) -> Script {
    let whole = case.wire.chunks(case.output).concat();
    let content_type = case.wire.content_type();
    let mut wire =
        format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n")
            .into_bytes();
    for piece in cut(&whole, &case.cuts) {
        wire.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        wire.extend(&piece);
        wire.extend(b"\r\n");
    }
    wire.extend(b"0\r\n\r\n");
    let pause = Step::Sleep(std::time::Duration::from_millis(1));
    Script::Raw(
        cut(&wire, &case.writes).into_iter().flat_map(|piece| [Step::Bytes(piece), pause.clone()]).collect(),
    )
}

async fn holds(case: &Case, engine: &Engine, gateway: &Gateway, alice: &Client) -> Result<(), TestCaseError> {
    engine.set(script(case));
    let before = gateway.events().len();
    let answer = alice.stream(case.wire.path(), &case.wire.body()).await.whole().await;
    let chunks = case.wire.chunks(case.output);
    let visible: Vec<Bytes> = chunks.into_iter().filter(|chunk| !case.wire.is_hidden(chunk)).collect();
    prop_assert_eq!(answer.text(), String::from_utf8_lossy(&visible.concat()).into_owned());
    // Its end is here, so its event is stored.
    let events = gateway.events();
    prop_assert_eq!(events.len(), before + 1);
    let event = events.iter().max_by_key(|event| event["occurred_at"].as_str().map(str::to_owned));
    prop_assert_eq!(event.and_then(|event| quantity(event, "output_tokens")), Some(case.output));
    Ok(())
}

#[test]
fn whatever_the_chunking_the_caller_gets_the_engines_bytes_and_the_count_is_true() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (_issuer, engine, gateway, alice) = runtime.block_on(async {
        let issuer = Issuer::start().await;
        let engine = Engine::start(samples::openai_chat(1, 1)).await;
        let gateway = Setup::new().with_issuer(&issuer).with_engine(&engine).start().await;
        let alice = gateway.client().with_bearer(&issuer.token("alice"));
        (issuer, engine, gateway, alice)
    });
    let config = Config { cases: 100, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config)
        .run(&case(), |case| runtime.block_on(holds(&case, &engine, &gateway, &alice)));
    if let Err(failure) = result {
        panic!("{failure}");
    }
}
