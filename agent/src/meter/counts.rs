//! Token counts, as engines state them.

use super::members::{Members, Wanted};

/// Above 2^53 a JSON number is not exact in most readers, so no engine means it.
const MAX_COUNT: u64 = 1 << 53;

/// Longest number of [`MAX_COUNT`], with room for white space.
pub(super) const COUNT_LIMIT: usize = 24;

/// Real ones have a few hundred bytes; vLLM's with all details has 400.
pub(super) const USAGE_LIMIT: usize = 16 * 1024;

/// English text has about four bytes a token.
const BYTES_PER_TOKEN: u64 = 4;

const USAGE: &[Wanted] = &[
    Wanted { key: "prompt_tokens", limit: COUNT_LIMIT },
    Wanted { key: "completion_tokens", limit: COUNT_LIMIT },
    Wanted { key: "input_tokens", limit: COUNT_LIMIT },
    Wanted { key: "output_tokens", limit: COUNT_LIMIT },
    Wanted { key: "cache_read_input_tokens", limit: COUNT_LIMIT },
    Wanted { key: "cache_creation_input_tokens", limit: COUNT_LIMIT },
    Wanted { key: "prompt_tokens_details", limit: 1024 },
];

const DETAILS: &[Wanted] = &[Wanted { key: "cached_tokens", limit: COUNT_LIMIT }];

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

#[derive(Debug)]
pub(super) struct Counts {
    usage: Members,
    details: Members,
    input: Option<u64>,
    output: Option<u64>,
    cached: Option<u64>,
    /// Anthropic counts these two beside `input_tokens`, not in it.
    cache_read: Option<u64>,
    cache_written: Option<u64>,
    pub(super) engine_error: bool,
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            usage: Members::new(USAGE),
            details: Members::new(DETAILS),
            input: None,
            output: None,
            cached: None,
            cache_read: None,
            cache_written: None,
            engine_error: false,
        }
    }

    /// Takes a `usage` object of OpenAI or Anthropic. `output` is false for Anthropic's `message_start`, whose
    /// `output_tokens` is a placeholder.
    pub(super) fn take_usage(&mut self, raw: &[u8], output: bool) {
        self.usage.reset();
        if self.usage.feed(raw).is_none() {
            return;
        }
        let count = |key| self.usage.get(key).and_then(count);
        said(&mut self.input, count("prompt_tokens").or(count("input_tokens")));
        if output {
            said(&mut self.output, count("completion_tokens").or(count("output_tokens")));
        }
        said(&mut self.cache_read, count("cache_read_input_tokens"));
        said(&mut self.cache_written, count("cache_creation_input_tokens"));
        if let Some(details) = self.usage.get("prompt_tokens_details") {
            self.details.reset();
            if self.details.feed(details).is_some() {
                said(&mut self.cached, self.details.get("cached_tokens").and_then(self::count));
            }
        }
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
        Reading {
            input: self.input.map(|count| count.saturating_add(beside)),
            output: self.output,
            cached_input: self.cached.or(self.cache_read),
            deltas,
            engine_error: self.engine_error,
        }
    }
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
