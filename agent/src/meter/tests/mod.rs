use super::*;
use crate::ask::Dialect;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

mod faults;
mod samples;
mod tails;

use samples::{SAMPLES, Sample};

/// What came of an answer.
struct Run {
    released: Vec<u8>,
    held: Vec<u8>,
    marked: bool,
    end: End,
    reading: Reading,
}

fn run<'a>(wire: Wire, hide: bool, frames: impl IntoIterator<Item = &'a [u8]>) -> Run {
    let mut scanner = Scanner::new(wire, hide);
    let mut release = Vec::new();
    for frame in frames {
        scanner.feed(Bytes::copy_from_slice(frame), &mut release);
    }
    let marked = scanner.marker_held();
    let end = scanner.end_of_body(&mut release);
    let reading = scanner.reading();
    let held = scanner.take_held().concat();
    Run { released: release.concat(), held, marked, end, reading }
}

impl Run {
    fn all(&self) -> Vec<u8> {
        [self.released.as_slice(), &self.held].concat()
    }
}

fn cut_at<'a>(text: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut frames = Vec::new();
    let mut last = 0;
    for cut in cuts {
        frames.push(&text[last..*cut]);
        last = *cut;
    }
    frames.push(&text[last..]);
    frames
}

fn reading(input: u64, output: u64, deltas: u64) -> Reading {
    Reading { input: Some(input), output: Some(output), deltas, ..Reading::default() }
}

#[test]
fn a_client_gets_each_recorded_answer_as_it_was_and_the_reading_is_true() {
    for sample in SAMPLES {
        let run = run(sample.wire, sample.hide, [sample.text.as_bytes()]);
        assert_eq!(run.reading, sample.reading, "{}", sample.name);
        assert_eq!(run.end, End::Complete, "{}", sample.name);
        assert!(run.marked, "{}", sample.name);
        assert_eq!(String::from_utf8(run.all()).unwrap(), sample.visible(), "{}", sample.name);
    }
}

#[test]
fn no_split_lets_the_marker_go_or_changes_what_is_read() {
    for sample in SAMPLES {
        let text = sample.text.as_bytes();
        let visible = sample.visible();
        let bytewise = cut_at(text, &(1..text.len()).collect::<Vec<_>>());
        let splits = (0..=text.len()).map(|cut| cut_at(text, &[cut])).chain([bytewise]);
        for frames in splits {
            let shape = frames.iter().map(|frame| frame.len()).collect::<Vec<_>>();
            let run = run(sample.wire, sample.hide, frames);
            assert_eq!(run.reading, sample.reading, "{} {shape:?}", sample.name);
            assert_eq!(run.end, End::Complete, "{} {shape:?}", sample.name);
            assert_eq!(String::from_utf8_lossy(&run.all()), visible, "{} {shape:?}", sample.name);
            assert!(
                run.released.len() <= visible.rfind(sample.marker).unwrap(),
                "{} {shape:?} released its marker",
                sample.name
            );
        }
    }
}

#[test]
fn what_is_whole_waits_for_nothing() {
    for sample in SAMPLES.iter().filter(|sample| !matches!(sample.wire, Wire::Json(_))) {
        let separator = match sample.text {
            text if text.starts_with('{') => "\n",
            text if text.contains('\r') => "\r\n\r\n",
            _ => "\n\n",
        };
        let mut scanner = Scanner::new(sample.wire, sample.hide);
        let pieces = sample.text.split_inclusive(separator).collect::<Vec<_>>();
        let (last, before) = pieces.split_last().unwrap();
        for piece in before {
            let mut release = Vec::new();
            scanner.feed(Bytes::from_static(piece.as_bytes()), &mut release);
            let hidden = sample.hidden.contains(piece);
            let expected = if hidden { "" } else { *piece };
            assert_eq!(release.concat(), expected.as_bytes(), "{}", sample.name);
            assert!(!scanner.marker_held());
        }
        let mut release = Vec::new();
        scanner.feed(Bytes::from_static(last.as_bytes()), &mut release);
        assert!(release.is_empty(), "{}: the end arrived whole and is held whole", sample.name);
        assert!(scanner.marker_held());
    }
}

#[test]
fn a_partial_line_goes_on_at_once_except_what_may_be_the_end() {
    let held = |wire, hide, text: &str| {
        let mut scanner = Scanner::new(wire, hide);
        let mut release = Vec::new();
        scanner.feed(Bytes::copy_from_slice(text.as_bytes()), &mut release);
        let released = release.concat();
        assert!(text.as_bytes().starts_with(&released));
        text[released.len()..].to_owned()
    };
    for (text, expected) in [
        ("data: {\"id\":\"x\",\"choices\":[{\"delta\":{\"content\":\"He", ""),
        ("da", ""),
        ("data: ", ""),
        ("data: [", "["),
        ("data:[DON", "[DON"),
        ("data: [DONT", ""),
        ("data: {}\n\ndata: [DO", "[DO"),
        ("data: {}\n\ndata: [DONE]", "data: [DONE]"),
        ("data: {}\n\ndata: [DONE]\r\n\r\nmore", "data: [DONE]\r\n\r\nmore"),
    ] {
        assert_eq!(held(Wire::OpenAiChat, false, text), expected, "{text}");
    }
    for (text, expected) in [
        (": comment", ""),
        ("data: {\"id\":\"x\",", "data: {\"id\":\"x\","),
        ("data: {\"id\":\"x\",\"choices\":[", "data: {\"id\":\"x\",\"choices\":["),
        ("data: {\"id\":\"x\",\"choices\":[{", ""),
        ("data: {\"id\":\"x\",\"choices\": [ 1", ""),
        ("data: {\"choices\":[],\"usage\":null}", ""),
        ("data: {\"choices\":[]}", ""),
        ("data: plain", ""),
    ] {
        assert_eq!(held(Wire::OpenAiChat, true, text), expected, "{text}");
    }
    for (text, expected) in [
        ("event: message_", "message_"),
        ("event: message_start\nda", ""),
        ("event: content", ""),
        ("event: message_stop\ndata: {", "event: message_stop\ndata: {"),
        ("data: {}\n\nevent:message_stop", "event:message_stop"),
    ] {
        assert_eq!(held(Wire::Anthropic, false, text), expected, "{text}");
    }
    for (text, expected) in [
        ("{\"model\":\"tiny\",\"message\":{\"content\":\"He", ""),
        ("{\"model\":\"tiny\",\"d", "\"d"),
        ("{\"model\":\"tiny\",\"de", ""),
        ("{\"model\":\"tiny\",\"done\"", "\"done\""),
        ("{\"model\":\"tiny\",\"done\":f", "\"done\":f"),
        ("{\"model\":\"tiny\",\"done\":false,", ""),
        ("{\"model\":\"tiny\",\"done_reason\":", ""),
        ("{\"done\":true,\"done_reason\":\"st", "\"done\":true,\"done_reason\":\"st"),
        ("{\"message\":{\"done\":true", ""),
        ("{\"x\":\"done\",\"y\":\"\\\"done\\\":true", ""),
    ] {
        assert_eq!(held(Wire::OllamaChat, false, text), expected, "{text}");
    }
}

#[test]
fn what_follows_the_taken_marker_passes() {
    let mut scanner = Scanner::new(Wire::OpenAiChat, false);
    let mut release = Vec::new();
    scanner.feed(Bytes::from_static(b"data: [DONE]\n"), &mut release);
    assert!(release.is_empty() && scanner.marker_held());
    assert_eq!(scanner.take_held().concat(), b"data: [DONE]\n");
    scanner.feed(Bytes::from_static(b"\n"), &mut release);
    assert_eq!(release.concat(), b"\n");
    assert_eq!(scanner.end_of_body(&mut release), End::Complete);
    assert!(scanner.error_tail("late", "late").is_empty());
}

#[test]
fn a_frame_that_is_not_held_is_not_copied() {
    let frame = Bytes::from(b"data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n".to_vec());
    for hide in [false, true] {
        let mut release = Vec::new();
        Scanner::new(Wire::OpenAiChat, hide).feed(frame.clone(), &mut release);
        assert_eq!(release.len(), 1);
        assert_eq!(release[0].as_ptr(), frame.as_ptr());
    }
}

#[test]
fn a_line_of_any_length_is_not_kept() {
    let piece = Bytes::from(vec![b'x'; 1 << 20]);
    let starts: [(Wire, &str); 5] = [
        (Wire::OpenAiChat, "data: {\"a\":\""),
        (Wire::OpenAiChat, "data: {\"usage\":{\"a\":\""),
        (Wire::Anthropic, "event: message_stop\ndata: {\"a\":\""),
        (Wire::OllamaChat, "{\"done\":true,\"context\":\""),
        (Wire::Json(Dialect::OpenAi), "{\"usage\":\""),
    ];
    for (wire, start) in starts {
        for hide in [false, true] {
            let mut scanner = Scanner::new(wire, hide);
            let mut release = Vec::new();
            scanner.feed(Bytes::from_static(start.as_bytes()), &mut release);
            for _ in 0..100 {
                scanner.feed(piece.clone(), &mut release);
            }
            let released: usize = release.iter().map(Bytes::len).sum();
            assert!(released + scan::MAX_HELD_BYTES >= start.len() + 100 * piece.len(), "{start}");
            assert!(!scanner.marker_held());
            scanner.feed(Bytes::from_static(b"\"}\n\n"), &mut release);
            // The end of what was too long to be held whole is held still.
            let ends = !matches!(wire, Wire::OpenAiChat);
            assert_eq!(scanner.marker_held(), ends, "{start}");
            if ends {
                assert!(scanner.take_held().concat().starts_with(b"}"), "{start}");
            }
        }
    }
}

#[test]
fn what_comes_behind_the_marker_is_bounded() {
    let mut scanner = Scanner::new(Wire::OpenAiChat, false);
    let mut release = Vec::new();
    scanner.feed(Bytes::from_static(b"data: [DONE]\n\n"), &mut release);
    for _ in 0..100 {
        scanner.feed(Bytes::from(vec![b'x'; 10_000]), &mut release);
    }
    assert!(release.is_empty());
    let held = scanner.take_held().concat();
    assert!(held.starts_with(b"data: [DONE]\n\nxx") && held.len() <= scan::MAX_HELD_BYTES);
}

/// Events such as engines send, in any order.
fn any_event(wire: Wire) -> BoxedStrategy<String> {
    let text = prop_oneof![
        Just("Hello".to_owned()),
        Just(String::new()),
        Just("\"usage\":{\"prompt_tokens\":9}".to_owned()),
        Just("data: [DONE]\n\n{\"done\":true}".to_owned()),
        Just("\\\u{1f600}é\u{7}".to_owned()),
        ".{0,20}",
    ];
    let raw = (text, any::<bool>()).prop_map(|(text, ascii)| {
        let json = Value::from(text).to_string();
        if !ascii {
            return json;
        }
        json.chars()
            .flat_map(|letter| match letter {
                ' '..='~' => vec![letter.to_string()],
                _ => letter.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
            })
            .collect()
    });
    let eol = prop_oneof![4 => Just("\n"), 1 => Just("\r\n")];
    let count = prop_oneof![
        Just("0".to_owned()),
        Just("-1".to_owned()),
        Just("7.5".to_owned()),
        (1u64..999).prop_map(|n| n.to_string())
    ];
    (0..8, raw, eol, count)
        .prop_map(move |(kind, text, eol, count)| match (wire, kind) {
            (Wire::OllamaChat, 0..=5) => format!("{{\"model\":\"tiny\",\"message\":{{\"content\":{text}}},\"done\":false}}{eol}"),
            (Wire::OllamaChat, 6) => format!("{{\"prompt_eval_count\":{count},\"done\":false,\"done_reason\":null}}{eol}"),
            (Wire::OllamaChat, _) => format!("{{\"error\":{text}}}{eol}"),
            (Wire::Anthropic, 0..=4) => format!("event: content_block_delta{eol}data: {{\"type\":\"content_block_delta\",\"delta\":{{\"type\":\"text_delta\",\"text\":{text}}}}}{eol}{eol}"),
            (Wire::Anthropic, 5) => format!("event: message_start{eol}data: {{\"type\":\"message_start\",\"message\":{{\"usage\":{{\"input_tokens\":{count},\"output_tokens\":1}}}}}}{eol}{eol}"),
            (Wire::Anthropic, 6) => format!("event: message_delta{eol}data: {{\"type\":\"message_delta\",\"usage\":{{\"output_tokens\":{count}}}}}{eol}{eol}"),
            (Wire::Anthropic, _) => format!("event: ping{eol}data: {{\"type\": \"ping\"}}{eol}{eol}"),
            (_, 0..=2) => format!("data: {{\"id\":\"x\",\"choices\":[{{\"delta\":{{\"content\":{text}}}}}]}}{eol}{eol}"),
            (_, 3) => format!("data: {{\"usage\":{{\"prompt_tokens\":{count},\"completion_tokens\":{count}}},\"choices\" : [ {{\"text\":{text}}}]}}{eol}{eol}"),
            (_, 4) => format!("data:{{\"choices\":[],\"usage\":{{\"prompt_tokens\":{count},\"completion_tokens\":4,\"prompt_tokens_details\":{{\"cached_tokens\":{count}}}}}}}{eol}{eol}"),
            (_, 5) => format!(": keep alive {}{eol}{eol}", text.len()),
            (_, 6) => format!("data: {{\"choices\":[],\"x\":{text},\"usage\":null}}{eol}{eol}"),
            (_, _) => format!("id: 4{eol}event: x{eol}data: [1, {text}]{eol}{eol}"),
        })
        .boxed()
}

fn end_of(wire: Wire) -> &'static str {
    match wire {
        Wire::Anthropic => "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        Wire::OllamaChat => "{\"model\":\"tiny\",\"done\":true,\"done_reason\":\"stop\",\"eval_count\":3}\n",
        Wire::OpenAiChat | Wire::OpenAiText | Wire::OllamaGenerate | Wire::Json(_) => "data: [DONE]\n\n",
    }
}

fn any_stream() -> impl Strategy<Value = (Wire, bool, Vec<String>, Vec<prop::sample::Index>)> {
    let wire = prop_oneof![Just(Wire::OpenAiChat), Just(Wire::Anthropic), Just(Wire::OllamaChat)];
    (wire, any::<bool>()).prop_flat_map(|(wire, hide)| {
        let events = prop::collection::vec(any_event(wire), 0..8);
        let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..12);
        (Just(wire), Just(hide), events, cuts)
    })
}

/// What a hiding gateway takes out, by a whole other way of telling.
fn is_hidden(event: &str) -> bool {
    let value = event.trim().strip_prefix("data:").and_then(|data| serde_json::from_str::<Value>(data).ok());
    value.is_some_and(|value| value["choices"] == serde_json::json!([]) && !value["usage"].is_null())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_chunking_gives_the_same_bytes_and_the_same_reading((wire, hide, events, cuts) in any_stream(), whole in any::<bool>()) {
        let end = if whole { end_of(wire) } else { "" };
        let text = events.concat() + end;
        let mut visible: String = events.iter().filter(|event| !(hide && is_hidden(event))).map(String::as_str).collect();
        visible += end;
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        let hide = hide && wire == Wire::OpenAiChat;
        let once = run(wire, hide, [text.as_bytes()]);
        let pieces = run(wire, hide, cut_at(text.as_bytes(), &cuts));
        let bytes = run(wire, hide, text.as_bytes().chunks(1));
        for run in [&once, &pieces, &bytes] {
            prop_assert_eq!(String::from_utf8(run.all()).unwrap(), visible.clone());
            prop_assert_eq!(run.reading, once.reading);
            prop_assert_eq!(run.end, once.end);
            prop_assert_eq!(run.marked, whole);
        }
        if whole {
            prop_assert!(!once.held.is_empty());
        }
    }

    #[test]
    fn no_bytes_make_a_scanner_panic(pieces in prop::collection::vec(prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        "(data: |event: |[{}\\[\\]\",:\\\\\n\rdone\"u0-9]|\"done\":|true|\\[DONE\\]|message_stop|\"usage\":|\"choices\":\\[)".prop_map(String::into_bytes),
    ], 0..30), hide in any::<bool>()) {
        let text = pieces.concat();
        for wire in [Wire::OpenAiChat, Wire::OpenAiText, Wire::Anthropic, Wire::OllamaChat, Wire::OllamaGenerate, Wire::Json(Dialect::OpenAi)] {
            let once = run(wire, hide, [text.as_slice()]);
            let cut = run(wire, hide, pieces.iter().map(Vec::as_slice));
            prop_assert_eq!(once.reading, cut.reading);
            prop_assert_eq!(once.end, cut.end);
            if !hide {
                prop_assert_eq!(&once.all(), &text);
            }
            prop_assert_eq!(once.all(), cut.all());
        }
    }
}
