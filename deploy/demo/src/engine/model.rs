//! The model: a tokenizer by words and marks, and a writer whose text follows from the prompt alone. Small enough to
//! read, and its counts are true: what it says it generated is what [`tokens`] makes of its text.

/// Characters of a word in one token. Long words become several tokens, as with real vocabularies; 8 keeps most
/// English words whole.
const MAX_WORD_CHARS: usize = 8;

/// How far "count to N" goes. It bounds the text of one answer to about 300 kB, and 50 000 tokens outlast any test.
const MAX_COUNT: u64 = 50_000;

/// Numbers of an embedding. Real models have 384 and more; the demo's vectors only need to be told apart.
const EMBEDDING_WIDTH: usize = 64;

const INTRODUCTION: &str =
    "I am the demo engine of Attach Gateway: a small program with a true token count, and no language model.";

const SUBJECTS: [&str; 8] = [
    "The gateway",
    "Every caller",
    "A patient stream",
    "This little engine",
    "An honest meter",
    "The limit",
    "Each answer",
    "Your question",
];
const VERBS: [&str; 8] =
    ["counts", "carries", "measures", "follows", "remembers", "announces", "protects", "reaches"];
const OBJECTS: [&str; 8] = [
    "each token once",
    "the whole way",
    "its own end",
    "a name that was proven",
    "the bytes as they arrive",
    "one durable record",
    "what was asked for",
    "the next word",
];

/// What bounds an answer.
#[derive(Debug, Default, Clone)]
pub struct Bounds {
    /// Tokens to generate at most.
    pub max_tokens: Option<usize>,
    /// Texts before which the answer ends.
    pub stop: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The model had said all.
    Natural,
    /// One of [`Bounds::stop`] came up.
    StopText,
    /// [`Bounds::max_tokens`] was reached.
    Length,
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub prompt_tokens: usize,
    /// The text in pieces: one piece is one token.
    pub tokens: Vec<String>,
    pub end: End,
}

impl Answer {
    #[must_use]
    pub fn text(&self) -> String {
        self.tokens.concat()
    }
}

/// The pieces of a text; together they are the text again.
///
/// A piece is a run of letters and digits, or one other character, with at most one space before it. A prefix of the
/// pieces is cut into the same pieces again, so a count can be checked from the text that was received.
pub fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = first_token_len(rest);
        let (token, after) = rest.split_at_checked(end)?;
        rest = after;
        (!token.is_empty()).then_some(token)
    })
}

/// What the model says to a prompt: always the same for the same prompt and bounds.
#[must_use]
pub fn answer(prompt: &str, bounds: &Bounds) -> Answer {
    let mut text = write(prompt);
    let mut end = End::Natural;
    if let Some(at) =
        bounds.stop.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop)).min()
    {
        text.truncate(at);
        end = End::StopText;
    }
    let mut pieces: Vec<String> = tokens(&text).map(str::to_owned).collect();
    if let Some(max) = bounds.max_tokens
        && max < pieces.len()
    {
        pieces.truncate(max);
        end = End::Length;
    }
    Answer { prompt_tokens: tokens(prompt).count(), tokens: pieces, end }
}

/// A vector of length one that depends on the tokens of the text and on nothing else.
#[must_use]
pub fn embed(text: &str) -> Vec<f32> {
    let mut vector = [0.0_f32; EMBEDDING_WIDTH];
    for token in tokens(text) {
        let mut random = Random::seeded(token.trim());
        for number in &mut vector {
            // 24 bits are exact in an f32.
            *number += (random.next() >> 40) as f32 / (1_u32 << 23) as f32 - 1.0;
        }
    }
    let norm = vector.iter().map(|number| number * number).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vector.iter().map(|number| number / norm).collect()
}

fn first_token_len(text: &str) -> usize {
    let space = usize::from(text.starts_with(' '));
    let word: usize = text
        .chars()
        .skip(space)
        .take_while(|c| c.is_alphanumeric())
        .take(MAX_WORD_CHARS)
        .map(char::len_utf8)
        .sum();
    if word > 0 {
        return space + word;
    }
    match text.chars().nth(space) {
        Some(' ') | None => space,
        Some(mark) => space + mark.len_utf8(),
    }
}

fn write(prompt: &str) -> String {
    let mut text = INTRODUCTION.to_owned();
    if let Some(last) = asked_count(prompt) {
        for number in 1..=last {
            text.push(' ');
            text.push_str(&number.to_string());
        }
        return text;
    }
    let mut random = Random::seeded(prompt);
    for _ in 0..3 + random.below(4) {
        for part in [&SUBJECTS, &VERBS, &OBJECTS] {
            text.push(' ');
            text.push_str(part.get(random.below(part.len())).copied().unwrap_or_default());
        }
        text.push('.');
    }
    text
}

/// The last "count to N" of the prompt: how to have a long answer.
fn asked_count(prompt: &str) -> Option<u64> {
    let prompt = prompt.to_ascii_lowercase();
    let (_, after) = prompt.rsplit_once("count to ")?;
    let digits = after.find(|c: char| !c.is_ascii_digit()).map_or(after, |end| after.split_at(end).0);
    Some(digits.parse::<u64>().ok()?.min(MAX_COUNT))
}

/// splitmix64, started from the FNV-1a hash of a text: a few lines, and the same on each machine.
struct Random(u64);

impl Random {
    fn seeded(text: &str) -> Self {
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(text.bytes().fold(0xcbf2_9ce4_8422_2325, hash))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; the bias is below 2^-56 for the small ends in use.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 6] =
        ["", "   ", "Hello, world", "internationalisation  of\nlines", "naïve 東京 \u{1f600}!", " a  b "];

    #[test]
    fn the_pieces_of_a_text_are_the_text() {
        for text in TEXTS {
            assert_eq!(tokens(text).collect::<String>(), text);
        }
        assert_eq!(tokens("Hello, world").collect::<Vec<_>>(), ["Hello", ",", " world"]);
        assert_eq!(tokens("internationalisation").count(), 3);
    }

    #[test]
    fn any_prefix_of_an_answer_is_counted_alike_by_who_receives_it() {
        let whole = answer("What is a gateway?", &Bounds::default());
        assert_eq!(whole.end, End::Natural);
        for max in 0..whole.tokens.len() {
            let cut = answer("What is a gateway?", &Bounds { max_tokens: Some(max), ..Bounds::default() });
            assert_eq!(cut.end, End::Length);
            assert_eq!(cut.tokens.len(), max);
            assert_eq!(tokens(&cut.text()).count(), max);
        }
    }

    #[test]
    fn the_same_prompt_is_answered_alike_and_another_one_otherwise() {
        let say = |prompt| answer(prompt, &Bounds::default()).text();
        assert_eq!(say("a"), say("a"));
        assert_ne!(say("a"), say("b"));
        assert!(say("a").starts_with("I am the demo engine of Attach Gateway"));
    }

    #[test]
    fn an_answer_ends_before_a_stop_text() {
        let bounds = Bounds { stop: vec![" program".to_owned(), String::new()], ..Bounds::default() };
        let cut = answer("hi", &bounds);
        assert_eq!(cut.end, End::StopText);
        assert!(cut.text().ends_with("a small"));
    }

    #[test]
    fn a_caller_who_wants_a_long_answer_asks_it_to_count() {
        let counted = answer("First count to 2. No: Count to 300!", &Bounds::default());
        assert!(counted.text().ends_with(" 299 300"));
        assert!(counted.tokens.len() > 300);
    }

    #[test]
    fn embeddings_have_length_one_and_tell_texts_apart() {
        let (cat, dog) = (embed("cat"), embed("dog"));
        assert!((cat.iter().map(|n| n * n).sum::<f32>() - 1.0).abs() < 1e-4);
        assert_ne!(cat, dog);
        assert!(embed("").iter().all(|n| *n == 0.0));
    }
}
