//! What engines, and those who pose as one, do wrong.

use super::*;

struct Fault {
    name: &'static str,
    wire: Wire,
    text: &'static [u8],
    end: End,
    reading: Reading,
}

const NONE: Reading =
    Reading { input: None, output: None, cached_input: None, deltas: 0, engine_error: false };
const ERROR: Reading = Reading { engine_error: true, ..NONE };
const CHAT: Wire = Wire::OpenAiChat;
const LINES: Wire = Wire::OllamaChat;
const JSON: Wire = Wire::Json(Dialect::OpenAi);

const fn text(deltas: u64) -> Reading {
    Reading { deltas, ..NONE }
}

const fn said(input: u64, output: u64, deltas: u64) -> Reading {
    Reading { input: Some(input), output: Some(output), deltas, ..NONE }
}

const fn fault(name: &'static str, wire: Wire, text: &'static [u8], end: End, reading: Reading) -> Fault {
    Fault { name, wire, text, end, reading }
}

#[rustfmt::skip]
const FAULTS: &[Fault] = &[
    fault("empty body", CHAT, b"", End::Broken, NONE),
    fault("empty body", Wire::Anthropic, b"", End::Broken, NONE),
    fault("empty body", LINES, b"", End::Broken, NONE),
    fault("empty body", JSON, b"", End::Broken, NONE),
    fault("HTML body", CHAT, b"<html><body>502 Bad Gateway</body></html>\n\n", End::Broken, NONE),
    fault("HTML body", LINES, b"<html>{\"done\":true}</html>\n", End::Broken, NONE),
    fault("HTML body", JSON, b"<html>{}</html>", End::Broken, NONE),
    fault("a JSON error in place of events", CHAT, b"{\"error\":{\"message\":\"x\"}}", End::Broken, NONE),
    fault("no marker", CHAT, b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n", End::Broken, text(1)),
    fault("usage, but no marker", CHAT, b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n", End::Broken, said(3, 4, 0)),
    fault("a crashed runner's last chunk", CHAT, b"data: {\"model\":\"tiny\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"model\":\"\",\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":null}]}\n\n", End::Broken, text(1)),
    fault("a crashed runner behind zeros", Wire::OpenAiText, b"data: {\"choices\":[{\"text\":\"a\"}],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}\n\n", End::Broken, text(1)),
    fault("half a marker", CHAT, b"data: {}\n\ndata: [DON", End::Broken, NONE),
    fault("the marker's text, but not as data", CHAT, b"event: [DONE]\n\n: [DONE]\n\n[DONE]\n\n", End::Broken, NONE),
    fault("the marker without a blank line", CHAT, b"data: [DONE]", End::Complete, NONE),
    fault("the marker twice", CHAT, b"data: [DONE]\n\ndata: [DONE]\n\n", End::Complete, NONE),
    fault("usage behind the marker", CHAT, b"data: [DONE]\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":3}}\n\n", End::Complete, NONE),
    fault("an error event, then the marker (vLLM)", CHAT, b"data: {\"error\":{\"message\":\"x\",\"code\":500}}\n\ndata: [DONE]\n\n", End::EngineError, ERROR),
    fault("an error event, then nothing", CHAT, b"data: {\"error\":{\"message\":\"x\"}}\n\n", End::EngineError, ERROR),
    fault("an event named error", CHAT, b"event: error\ndata: out of memory\n\n", End::EngineError, ERROR),
    fault("an error field (llama.cpp of old)", CHAT, b"error: {\"code\":500}\n\n", End::EngineError, ERROR),
    fault("an error that is null", CHAT, b"data: {\"error\":null}\n\ndata: [DONE]\n\n", End::Complete, NONE),
    fault("truncated JSON, then the marker", CHAT, b"data: {\"choices\":[{\"delta\":{\"content\":\"a\n\ndata: [DONE]\n\n", End::Complete, text(1)),
    fault("no blank lines", CHAT, b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\ndata: [DONE]\n", End::Complete, said(3, 4, 1)),
    fault("one value in many data lines", CHAT, b"data: {\"choices\":[],\ndata: \"usage\":\ndata:  {\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n", End::Complete, said(3, 4, 0)),
    fault("a rate that is no JSON", CHAT, b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"tokens_per_second\":NaN}}\n\ndata: [DONE]\n\n", End::Complete, said(3, 4, 0)),
    fault("a byte order mark", CHAT, b"\xef\xbb\xbfdata: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n", End::Complete, said(3, 4, 0)),
    fault("invalid UTF-8", CHAT, b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\xfe\"}}],\"\xff\":1,\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n", End::Complete, said(3, 4, 1)),
    fault("counts that are none", CHAT, b"data: {\"usage\":{\"prompt_tokens\":-3,\"completion_tokens\":4.0}}\n\ndata: {\"usage\":{\"prompt_tokens\":\"3\",\"completion_tokens\":1e3}}\n\ndata: {\"usage\":{\"prompt_tokens\":9007199254740993,\"completion_tokens\":99999999999999999999999999}}\n\ndata: [DONE]\n\n", End::Complete, NONE),
    fault("the largest count", CHAT, b"data: {\"usage\":{\"prompt_tokens\":9007199254740992,\"completion_tokens\": 4 }}\n\ndata: [DONE]\n\n", End::Complete, said(9_007_199_254_740_992, 4, 0)),
    fault("duplicate keys", CHAT, b"data: {\"usage\":{\"prompt_tokens\":1},\"usage\":{\"prompt_tokens\":2,\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n", End::Complete, said(3, 4, 0)),
    fault("usage that is none", CHAT, b"data: {\"usage\":[1,2]}\n\ndata: {\"usage\":\"7\"}\n\ndata: {\"usage\":{}}\n\ndata: [DONE]\n\n", End::Complete, NONE),
    fault("usage further down", CHAT, b"data: {\"choices\":[{\"usage\":{\"prompt_tokens\":9}}],\"x\":{\"usage\":{\"prompt_tokens\":9}}}\n\ndata: [DONE]\n\n", End::Complete, NONE),
    fault("a shrinking count", CHAT, b"data: {\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":9}}\n\ndata: {\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n", End::Complete, said(5, 4, 0)),
    fault("no message_stop", Wire::Anthropic, b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":2,\"output_tokens\":1}}}\n\n", End::Broken, Reading { input: Some(2), ..NONE }),
    fault("half of message_stop", Wire::Anthropic, b"event: message_stop\ndata: {\"type\":", End::Broken, NONE),
    fault("message_stop without data", Wire::Anthropic, b"event: message_stop\n\n", End::Complete, NONE),
    fault("message_stop without a name", Wire::Anthropic, b"data: {\"type\":\"message_stop\"}\n\n", End::Complete, NONE),
    fault("an error event of Anthropic", Wire::Anthropic, b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}\n\n", End::EngineError, ERROR),
    fault("OpenAI's marker in place of Anthropic's", Wire::Anthropic, b"data: [DONE]\n\n", End::Broken, NONE),
    fault("no done line", LINES, b"{\"message\":{\"content\":\"a\"},\"done\":false}\n", End::Broken, text(1)),
    fault("an error line under status 200", LINES, b"{\"message\":{\"content\":\"a\"},\"done\":false}\n{\"error\":\"an error was encountered while running the model: unexpected EOF\"}\n", End::EngineError, Reading { engine_error: true, ..text(1) }),
    fault("a done line without its line feed", LINES, b"{\"done\":true,\"prompt_eval_count\":3,\"eval_count\":4}", End::Complete, said(3, 4, 0)),
    fault("a truncated done line", LINES, b"{\"done\":true,\"prompt_eval_count\":3", End::Broken, NONE),
    fault("a broken line, then a whole one", LINES, b"{\"message\":{\"content\":\"a\n{\"done\":true,\"prompt_eval_count\":3,\"eval_count\":4}\n", End::Complete, said(3, 4, 1)),
    fault("done that is no truth", LINES, b"{\"done\":\"true\"}\n{\"done\":1}\n{\"x\":{\"done\":true}}\n{\"done\":true,\"done\":false}\n", End::Broken, NONE),
    fault("blank lines", LINES, b"\n\r\n{\"done\":true,\"prompt_eval_count\":3,\"eval_count\":4}\r\n\n", End::Complete, said(3, 4, 0)),
    fault("truncated JSON", JSON, b"{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}", End::Broken, NONE),
    fault("an error body under status 200", JSON, b"{\"error\":{\"message\":\"x\"}}", End::EngineError, ERROR),
    fault("bytes behind the body", JSON, b"{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}{\"usage\":{\"prompt_tokens\":9}}", End::Complete, said(3, 4, 0)),
    fault("an unterminated string", JSON, b"{\"usage\":\"\\\"}", End::Broken, NONE),
    fault("a list", JSON, b"[{\"usage\":{\"prompt_tokens\":9}}]", End::Complete, NONE),
    fault("a list closed by a brace", JSON, b"{\"choices\":[\x0e}\"choices\":[]]", End::Complete, NONE),
    fault("numbers closed by a brace", JSON, b"{\"x\":[1,2}}", End::Complete, NONE),
    fault("a zero behind a count", CHAT, b"data: {\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":9}}\n\ndata: {\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}\n\ndata: [DONE]\n\n", End::Complete, said(5, 9, 0)),
    fault("closed once too often", JSON, b"{}}}]", End::Complete, NONE),
];

#[test]
fn an_engine_that_fails_is_seen_through() {
    for fault in FAULTS {
        for size in [1, 3, usize::MAX] {
            let run = run(fault.wire, false, fault.text.chunks(size));
            let at = format!("{} ({:?}) in pieces of {size}", fault.name, fault.wire);
            assert_eq!(run.end, fault.end, "{at}");
            assert_eq!(run.reading, fault.reading, "{at}");
            assert_eq!(run.all(), fault.text, "{at}");
            assert!(run.end != End::Complete || run.marked, "{at}");
        }
    }
}

#[test]
fn a_hidden_event_takes_nothing_with_it_when_its_blank_line_is_missing() {
    let text = "data: {\"choices\":[1]}\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\ndata: [DONE]\n";
    for size in [1, 5, usize::MAX] {
        let run = run(CHAT, true, text.as_bytes().chunks(size));
        assert_eq!((run.end, run.reading), (End::Complete, reading(3, 4, 0)));
        assert_eq!(String::from_utf8(run.all()).unwrap(), "data: {\"choices\":[1]}\ndata: [DONE]\n");
    }
}

#[test]
fn an_event_too_long_to_be_held_is_shown_whole() {
    let long = "x".repeat(2 * scan::MAX_HELD_BYTES);
    // In one line of data, and in two.
    for joint in [",", ",\ndata: "] {
        let text = format!(
            "data: {{\"choices\":[],\"x\":\"{long}\"{joint}\"usage\":{{\"prompt_tokens\":3,\"completion_tokens\":4}}}}\n\ndata: [DONE]\n\n",
        );
        let run = run(CHAT, true, text.as_bytes().chunks(1000));
        assert_eq!((run.end, run.reading), (End::Complete, reading(3, 4, 0)));
        assert!(run.all() == text.as_bytes());
    }
}

#[test]
fn an_engine_that_nests_without_end_is_read_on() {
    let deep = "[{\"a\":".repeat(100_000);
    let text = format!(
        "data: {{\"x\":{deep}1\n\ndata: {{\"usage\":{{\"prompt_tokens\":3,\"completion_tokens\":4}}}}\n\ndata: [DONE]\n\n"
    );
    for size in [1000, usize::MAX] {
        let run = run(CHAT, true, text.as_bytes().chunks(size));
        assert_eq!((run.end, run.reading), (End::Complete, reading(3, 4, 0)));
        assert_eq!(run.all(), text.as_bytes());
    }
    let mut scanner = Scanner::new(CHAT, false);
    scanner.feed(Bytes::from(format!("data: {deep}")), &mut Vec::new());
    let tail = scanner.error_tail("m", "c");
    assert!(tail.starts_with(b"\n\ndata: {\"error\""), "too deep to be closed, so the line is given up");
}

#[test]
fn an_engine_that_writes_a_megabyte_in_a_line_is_read() {
    let text = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}],\"usage\":{{\"prompt_tokens\":3,\"completion_tokens\":4}}}}\n\ndata: [DONE]\n\n",
        "x\\\"\\u00e9".repeat(100_000)
    );
    for size in [997, usize::MAX] {
        let run = run(CHAT, true, text.as_bytes().chunks(size));
        assert_eq!((run.end, run.reading), (End::Complete, reading(3, 4, 1)));
        assert_eq!(run.all(), text.as_bytes());
    }
}
