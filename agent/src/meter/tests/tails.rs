use super::*;
use jiff::Timestamp;
use serde_json::json;

const END: LengthEnd<'_> = LengthEnd {
    id: "chatcmpl-own",
    model: "asked",
    now: Timestamp::UNIX_EPOCH,
    input: 11,
    output: 22,
    choices: 1,
    usage: true,
};

/// Reads events as a browser does, each as its name and the JSON of its data.
fn events(text: &str) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    let (mut name, mut data) = (String::new(), Vec::new());
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for line in whole.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                let joined = std::mem::take(&mut data).join("\n");
                let name = std::mem::take(&mut name);
                if joined == "[DONE]" {
                    events.push((joined, Value::Null));
                } else if !joined.is_empty() {
                    events.push((name, serde_json::from_str(&joined).unwrap_or_else(|_| panic!("{joined}"))));
                }
            }
            "event" => value.clone_into(&mut name),
            "data" => data.push(value.to_owned()),
            _ => {}
        }
    }
    events
}

fn lines(text: &str) -> Vec<Value> {
    assert!(text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// The client's text and the tail, for every place where the engine may stop, in one frame and byte by byte.
fn for_each_cut(sample: &Sample, tail: impl Fn(&Scanner) -> Bytes, mut check: impl FnMut(String, usize)) {
    for cut in 0..sample.text.len() {
        for size in [1, usize::MAX] {
            let mut scanner = Scanner::new(sample.wire, sample.hide);
            let mut release = Vec::new();
            for frame in sample.text.as_bytes()[..cut].chunks(size) {
                scanner.feed(Bytes::copy_from_slice(frame), &mut release);
            }
            let text = [release.concat(), tail(&scanner).to_vec()].concat();
            check(String::from_utf8(text).unwrap_or_else(|_| panic!("{} at {cut}", sample.name)), cut);
        }
    }
}

fn streams() -> impl Iterator<Item = &'static Sample> {
    SAMPLES.iter().filter(|sample| !matches!(sample.wire, Wire::Json(_)))
}

#[test]
fn a_client_sees_an_error_wherever_the_engine_stops() {
    for sample in streams() {
        let tail = |scanner: &Scanner| scanner.error_tail("the \"engine\" stopped", "engine_broke");
        for_each_cut(sample, tail, |text, cut| {
            let at = format!("{} at {cut}: {text}", sample.name);
            let (name, message, last) = if matches!(sample.wire, Wire::OllamaChat | Wire::OllamaGenerate) {
                let last = lines(&text).pop().unwrap();
                (String::new(), last["error"].clone(), last)
            } else {
                let (name, last) = events(&text).pop().unwrap();
                (name, last["error"]["message"].clone(), last)
            };
            assert_eq!(message, "the \"engine\" stopped", "{at}");
            if sample.wire == Wire::Anthropic {
                assert_eq!(name, "error", "{at}");
                assert_eq!(last["type"], "error", "{at}");
            }
            assert!(!text.contains("data: [DONE]\n"), "{at}");
        });
    }
}

#[test]
fn a_client_sees_a_length_stop_wherever_the_budget_ends() {
    for sample in streams() {
        for_each_cut(
            sample,
            |scanner| scanner.length_tail(&END),
            |text, cut| {
                let at = format!("{} at {cut}: {text}", sample.name);
                match sample.wire {
                    Wire::OllamaChat | Wire::OllamaGenerate => {
                        let lines = lines(&text);
                        let (last, before) = lines.split_last().unwrap();
                        assert_eq!(last["done"], true, "{at}");
                        assert_eq!(last["done_reason"], "length", "{at}");
                        assert_eq!(
                            (&last["prompt_eval_count"], &last["eval_count"]),
                            (&json!(11), &json!(22))
                        );
                        let answer = if sample.wire == Wire::OllamaChat { "message" } else { "response" };
                        assert!(
                            lines.iter().all(|line| !line[answer].is_null() || text.contains(":null")),
                            "{at}"
                        );
                        assert!(before.iter().all(|line| line["done"] != true), "{at}");
                    }
                    Wire::Anthropic => {
                        let events = events(&text);
                        let names = events.iter().map(|event| event.0.as_str()).collect::<Vec<_>>();
                        assert_eq!(
                            names.first(),
                            Some(&if cut < 220 { names[0] } else { "message_start" }),
                            "{at}"
                        );
                        let count = |name| names.iter().filter(|found| **found == name).count();
                        assert_eq!(count("message_start"), 1, "{at}");
                        assert_eq!(count("content_block_start"), count("content_block_stop"), "{at}");
                        assert!(names.ends_with(&["message_delta", "message_stop"]), "{at}");
                        let delta = &events[events.len() - 2].1;
                        assert_eq!(delta["delta"]["stop_reason"], "max_tokens", "{at}");
                        assert_eq!(delta["usage"]["output_tokens"], 22, "{at}");
                    }
                    Wire::OpenAiChat | Wire::OpenAiText | Wire::Json(_) => {
                        let events = events(&text);
                        let [.., stop, usage, done] = events.as_slice() else { panic!("{at}") };
                        assert_eq!(stop.1["choices"][0]["finish_reason"], "length", "{at}");
                        assert_eq!(usage.1["choices"], json!([]), "{at}");
                        assert_eq!(usage.1["usage"]["total_tokens"], 33, "{at}");
                        assert_eq!(done.0, "[DONE]", "{at}");
                    }
                }
            },
        );
    }
}

#[test]
fn a_length_stop_carries_the_names_of_its_stream() {
    let mut scanner = Scanner::new(Wire::OpenAiChat, true);
    let first = samples::OLLAMA_OPENAI.split_inclusive("\n\n").next().unwrap();
    scanner.feed(Bytes::from_static(first.as_bytes()), &mut Vec::new());
    let tail = scanner.length_tail(&LengthEnd { usage: false, choices: 2, ..END });
    let events = events(std::str::from_utf8(&tail).unwrap());
    let chunk = |index: u64| {
        json!({"id": "chatcmpl-260", "object": "chat.completion.chunk", "created": 1764000000, "model": "tiny",
            "system_fingerprint": "fp_ollama",
            "choices": [{"index": index, "delta": {}, "logprobs": null, "finish_reason": "length"}]})
    };
    assert_eq!(events.iter().map(|event| &event.1).collect::<Vec<_>>(), [&chunk(0), &chunk(1), &Value::Null]);
}

#[test]
fn a_cut_body_is_closed_with_its_error() {
    for sample in SAMPLES.iter().filter(|sample| matches!(sample.wire, Wire::Json(_))) {
        for_each_cut(
            sample,
            |scanner| scanner.error_tail("stopped", "broke"),
            |text, cut| {
                if cut >= sample.text.trim_end().len() {
                    return;
                }
                let value: Value = serde_json::from_str(&text)
                    .unwrap_or_else(|_| panic!("{} at {cut}: {text}", sample.name));
                assert!(!value["error"].is_null(), "{} at {cut}: {text}", sample.name);
            },
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn any_json_can_be_ended_anywhere(text in "(\\{\"(a|é😀|\\\\u00e9\\\\ud83d\\\\ude00|\\\\\\\\)\" ?: ?(\\{\\}|\\[ ?\\]|\\[1, ?-2\\.5e\\+1,[ \n]*(true|\"x\\\\\"\")\\]|\\{\"b\":\\[\\[null\\],\\{\\}\\]\\}|false|\"[a-zé😀]{0,5}(\\\\n|\\\\ud83d\\\\ude00)?\"), ?\"c\":-0\\.1E-5)\\}", size in 1usize..9) {
        let text = text.as_bytes();
        prop_assume!(serde_json::from_slice::<Value>(text).is_ok());
        for cut in 1..text.len() {
            let mut scanner = Scanner::new(Wire::Json(Dialect::Ollama), false);
            let mut release = Vec::new();
            for frame in text[..cut].chunks(size) {
                scanner.feed(Bytes::copy_from_slice(frame), &mut release);
            }
            let all = [release.concat(), scanner.error_tail("m", "c").to_vec()].concat();
            let value: Value = serde_json::from_slice(&all).map_err(|error| TestCaseError::fail(format!("{error} {:?}", String::from_utf8_lossy(&all))))?;
            prop_assert_eq!(&value["error"], "m");
        }
    }
}
