//! Token counts, as engines state them.

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Above 2^53 a JSON number is not exact in most readers, so no engine means it.
const MAX_COUNT: u64 = 1 << 53;

/// Longest number of [`MAX_COUNT`], with room for white space.
pub(super) const COUNT_LIMIT: usize = 24;

/// Real ones have a few hundred bytes; vLLM's with all details has 400.
pub(super) const USAGE_LIMIT: usize = 16 * 1024;

/// English text has about four bytes a token.
const BYTES_PER_TOKEN: u64 = 4;

/// What an answer has told of its consumption up to now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Input tokens, the cached ones among them; None when the engine did not say.
    pub(crate) input: Option<u64>,
    pub(crate) output: Option<u64>,
    /// Part of the input that came from the engine's prefix cache.
    pub(crate) cached_input: Option<u64>,
    /// Estimated output tokens, for when the engine does not say: pieces of text of a stream, each of which is a token
    /// as a rule; of a whole body a quarter of its text's bytes.
    pub(crate) deltas: u64,
    /// The engine itself reported a failure.
    pub(crate) engine_error: bool,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    input: Option<u64>,
    output: Option<u64>,
    cached: Option<u64>,
    /// vLLM says nothing else of a reranking.
    total: Option<u64>,
    /// Anthropic counts these two beside `input_tokens`, not in it.
    cache_read: Option<u64>,
    cache_written: Option<u64>,
    pub(super) engine_error: bool,
}

impl Counts {
    /// Takes a `usage` object of OpenAI or Anthropic. `output` is false for Anthropic's `message_start`, whose
    /// `output_tokens` is a placeholder.
    pub(super) fn take_usage(&mut self, raw: &[u8], output: bool) {
        let mut usage = Usage::default();
        each_member(raw, |key, value| usage.take(key, value));
        said(&mut self.input, usage.prompt.or(usage.input));
        if output {
            said(&mut self.output, usage.completion.or(usage.output));
        }
        said(&mut self.cache_read, usage.cache_read);
        said(&mut self.cache_written, usage.cache_written);
        said(&mut self.cached, usage.cached);
        said(&mut self.total, usage.total);
    }

    /// Takes Ollama's two counts, `prompt_eval_count` and `eval_count`.
    pub(super) fn take_ollama(&mut self, input: Option<&[u8]>, output: Option<&[u8]>) {
        said(&mut self.input, input.and_then(count));
        said(&mut self.output, output.and_then(count));
    }

    /// Takes the first bytes of an `error` member; some engines have it in each answer, empty.
    pub(super) fn take_error(&mut self, raw: &[u8]) {
        self.engine_error |= !matches!(raw.trim_ascii(), b"" | b"null" | b"false" | b"\"\"" | b"{}");
    }

    /// The reading of a stream. A zero is what Ollama's `/v1/completions` says in each chunk before the last: no prompt
    /// has none, and no output is believed only while none was seen.
    pub(super) fn of_stream(&self, deltas: u64) -> Reading {
        let all = self.reading(deltas);
        Reading {
            input: all.input.filter(|count| *count > 0),
            output: all.output.filter(|count| *count > 0 || deltas == 0),
            ..all
        }
    }

    /// The reading of a whole body.
    pub(super) fn of_body(&self, content_bytes: u64) -> Reading {
        self.reading(content_bytes.div_ceil(BYTES_PER_TOKEN))
    }

    fn reading(&self, deltas: u64) -> Reading {
        let beside = self.cache_read.unwrap_or(0).saturating_add(self.cache_written.unwrap_or(0));
        let total_alone = self.total.filter(|_| self.input.is_none() && self.output.is_none());
        Reading {
            // A total alone is that of what makes no output.
            input: self.input.map(|count| count.saturating_add(beside)).or(total_alone),
            output: self.output.or(total_alone.map(|_| 0)),
            cached_input: self.cached.or(self.cache_read),
            deltas,
            engine_error: self.engine_error,
        }
    }
}

/// The members of one `usage` object. Of a member that comes twice the last one counts, as every engine and client has
/// it.
#[derive(Debug, Default)]
struct Usage {
    prompt: Option<u64>,
    input: Option<u64>,
    completion: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_written: Option<u64>,
    cached: Option<u64>,
    total: Option<u64>,
}

impl Usage {
    fn take(&mut self, key: &str, value: &str) {
        let slot = match key {
            "prompt_tokens" => &mut self.prompt,
            "input_tokens" => &mut self.input,
            "total_tokens" => &mut self.total,
            "completion_tokens" => &mut self.completion,
            "output_tokens" => &mut self.output,
            "cache_read_input_tokens" => &mut self.cache_read,
            "cache_creation_input_tokens" => &mut self.cache_written,
            "prompt_tokens_details" => {
                self.cached = None;
                let take = |key: &str, value: &str| {
                    if key == "cached_tokens" {
                        self.cached = count(value.as_bytes());
                    }
                };
                each_member(value.as_bytes(), take);
                return;
            }
            _ => return,
        };
        *slot = count(value.as_bytes());
    }
}

/// Calls `take` with each key of a JSON object and its value, both as they are written, up to where it is no JSON any
/// more: engines written in Python write `NaN` behind counts that are good.
fn each_member(object: &[u8], take: impl FnMut(&str, &str)) {
    struct Each<F>(F);
    impl<'de, F: FnMut(&str, &str)> Visitor<'de> for Each<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some(key) = map.next_key::<&RawValue>()? {
                let key = key.get();
                let name = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
                self.0(name, map.next_value::<&RawValue>()?.get());
            }
            Ok(())
        }
    }
    let mut json = serde_json::Deserializer::from_slice(object);
    // What was read was taken.
    let _ = json.deserialize_map(Each(take));
}

/// A later statement replaces an earlier one, but no zero replaces a count.
fn said(slot: &mut Option<u64>, count: Option<u64>) {
    if count.is_some_and(|count| count > 0) || slot.is_none() {
        *slot = count;
    }
}

/// A count that can be believed: digits only, at most 2^53. Anything else was not said.
fn count(raw: &[u8]) -> Option<u64> {
    let digits = raw.iter().all(u8::is_ascii_digit);
    let count: u64 = std::str::from_utf8(raw).ok().filter(|_| digits)?.parse().ok()?;
    (count <= MAX_COUNT).then_some(count)
}
