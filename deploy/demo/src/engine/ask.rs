//! A request's JSON, read as Ollama's server reads it: whatever the content type, key names without regard to case,
//! the last of duplicate keys wins, and what follows the first value is ignored. A gateway that reads a body otherwise
//! than its engine can be walked around; a demo that is stricter than the real engine would hide that.

use super::{fault::Fault, model::Bounds};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

pub(super) struct Ask {
    fields: Map<String, Value>,
}

impl Ask {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Fault> {
        if body.trim_ascii().is_empty() {
            return Err(Fault::NoBody);
        }
        match serde_json::Deserializer::from_slice(body).into_iter::<Folded>().next() {
            Some(Ok(Folded(fields))) => Ok(Self { fields }),
            Some(Err(error)) if error.is_data() => {
                Err(Fault::WrongType { found: kind_of_first(body), field: "request", wanted: "api.Request" })
            }
            Some(Err(error)) => Err(Fault::NotJson(go_words(body, &error))),
            None => Err(Fault::NoBody),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &'static str) -> Result<Option<&str>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(Fault::WrongType { found: kind_of(other), field: name, wanted: "string" }),
        }
    }

    pub(super) fn flag(&self, name: &'static str) -> Result<Option<bool>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(Fault::WrongType { found: kind_of(other), field: name, wanted: "bool" }),
        }
    }

    pub(super) fn count(&self, name: &'static str) -> Result<Option<usize>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(value) if value.is_i64() || value.is_u64() => Ok(positive(value)),
            Some(other) => Err(Fault::WrongType { found: kind_of(other), field: name, wanted: "int" }),
        }
    }

    pub(super) fn list(&self, name: &'static str) -> Result<&[Value], Fault> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => {
                Err(Fault::WrongType { found: kind_of(other), field: name, wanted: "[]api.Message" })
            }
        }
    }

    /// The bounds in Ollama's `options`; zero and negative numbers mean "as long as the model likes".
    pub(super) fn options(&self) -> Result<Bounds, Fault> {
        let options = match self.get("options") {
            None => return Ok(Bounds::default()),
            Some(Value::Object(options)) => options,
            Some(other) => {
                return Err(Fault::WrongType {
                    found: kind_of(other),
                    field: "options",
                    wanted: "map[string]interface {}",
                });
            }
        };
        let max_tokens = match options.get("num_predict") {
            None | Some(Value::Null) => None,
            Some(value) if value.is_number() => positive(value),
            Some(_) => return Err(Fault::WrongOption { name: "num_predict", wanted: "integer" }),
        };
        Ok(Bounds { max_tokens, stop: texts(options.get("stop")) })
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        texts(self.get(name))
    }

    /// The prompt that the messages make: one line each, then the turn of the model.
    pub(super) fn chat_prompt(&self) -> Result<String, Fault> {
        let mut prompt = String::new();
        if let Some(system) = self.get("system") {
            push_line(&mut prompt, "system", &content_text(system));
        }
        for message in self.list("messages")? {
            let Value::Object(message) = message else {
                return Err(Fault::WrongType {
                    found: kind_of(message),
                    field: "messages",
                    wanted: "api.Message",
                });
            };
            let role = message.get("role").and_then(Value::as_str).unwrap_or("user");
            push_line(&mut prompt, role, &message.get("content").map(content_text).unwrap_or_default());
        }
        prompt.push_str("assistant:");
        Ok(prompt)
    }

    /// The demo model has no use for tools; an empty list, which clients send, is none.
    pub(super) fn refuse_tools(&self) -> Result<(), Fault> {
        if self.list("tools")?.is_empty() { Ok(()) } else { Err(Fault::NoTools) }
    }
}

/// An object whose keys were folded in the order in which they were written, which a map read first has forgotten.
struct Folded(Map<String, Value>);

impl<'de> Deserialize<'de> for Folded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Folded;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Folded, A::Error> {
                let mut fields = Map::new();
                while let Some((name, value)) = entries.next_entry::<String, Value>()? {
                    fields.insert(name.to_ascii_lowercase(), value);
                }
                Ok(Folded(fields))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

fn kind_of_first(body: &[u8]) -> &'static str {
    match body.trim_ascii_start().first() {
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "bool",
        Some(b'n') => "null",
        _ => "number",
    }
}

fn positive(value: &Value) -> Option<usize> {
    let number = value.as_u64().or_else(|| value.as_f64().filter(|n| *n >= 1.0).map(|n| n as u64))?;
    usize::try_from(number).ok().filter(|n| *n > 0)
}

/// A text, or a list of texts: both are usual for `stop` and `input`.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => Vec::new(),
    }
}

/// The text of a message: a string, or the text parts of a list of parts.
fn content_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

fn push_line(prompt: &mut String, role: &str, content: &str) {
    prompt.push_str(role);
    prompt.push_str(": ");
    prompt.push_str(content);
    prompt.push('\n');
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn go_words(body: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected EOF".to_owned();
    }
    let line = body.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let at = line.get(error.column().saturating_sub(1)).map_or(' ', |byte| char::from(*byte));
    format!("invalid character '{at}' looking for beginning of value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_fold_and_the_last_one_wins() {
        let ask = Ask::parse(br#"{"model":"nope","MODEL":"demo"} trailing"#).unwrap();
        assert_eq!(ask.text("model").unwrap(), Some("demo"));
    }

    #[test]
    fn what_is_not_json_is_told_in_the_words_of_the_real_server() {
        let words = |body: &[u8]| Ask::parse(body).err().unwrap().to_string();
        assert_eq!(words(b"  "), "missing request body");
        assert_eq!(words(b"{\"a\":}"), "invalid character '}' looking for beginning of value");
        assert_eq!(words(b"{\"a\":1"), "unexpected EOF");
        assert!(words(b"[]").starts_with("json: cannot unmarshal array"));
    }

    #[test]
    fn zero_and_negative_num_predict_do_not_bound() {
        let max = |body: &str| Ask::parse(body.as_bytes()).unwrap().options().map(|bounds| bounds.max_tokens);
        assert_eq!(max(r#"{"options":{"num_predict":3}}"#).unwrap(), Some(3));
        assert_eq!(max(r#"{"options":{"num_predict":0}}"#).unwrap(), None);
        assert_eq!(max(r#"{"options":{"num_predict":-1}}"#).unwrap(), None);
        assert!(max(r#"{"options":{"num_predict":"3"}}"#).is_err());
    }
}
