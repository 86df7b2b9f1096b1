//! From the caller's body to the engine's: what must change, changed in place.

use super::request::Ask;
use crate::json_edit::{Edits, Tail};
use attach_proto::{bundle::UpstreamKind, id::ModelName, route::Dialect};
use bytes::Bytes;
use std::ops::Range;

/// Where in the body stands what may have to change.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) model: Option<Range<usize>>,
    pub(super) caps: Vec<Cap>,
    pub(super) include_usage: Option<Range<usize>>,
    /// The end of the body's object.
    pub(super) body: Option<Tail>,
    pub(super) options: Option<Object>,
    pub(super) stream_options: Option<Object>,
    /// A `prompt` where the engine wants `messages`: the whole member, and its value.
    pub(super) prompt_for_messages: Option<(Range<usize>, Range<usize>)>,
}

/// A member that bounds the output.
#[derive(Debug)]
pub(super) struct Cap {
    pub(super) field: CapField,
    pub(super) range: Range<usize>,
    /// `None`: as much as the engine likes.
    pub(super) asked: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CapField {
    MaxTokens,
    MaxCompletionTokens,
    NPredict,
    NumPredict,
}

/// A member that may get a member of its own.
#[derive(Debug)]
pub(super) enum Object {
    Here(Tail),
    Null(Range<usize>),
}

impl Ask {
    /// The body for an engine: every byte as it came, but for the model's other name, the cap, and what makes the
    /// engine report usage.
    pub(crate) fn body_for(
        &self,
        kind: UpstreamKind,
        engine_model: Option<&ModelName>,
        output_cap: Option<u64>,
    ) -> Bytes {
        let mut edits = Edits::default();
        if let (Some(place), Some(engine_model)) = (&self.places.model, engine_model)
            && self.model.as_ref() != Some(engine_model)
        {
            edits.replace(place.clone(), serde_json::Value::from(engine_model.as_str()).to_string());
        }
        if let Some((member, value)) = &self.places.prompt_for_messages
            && let Some(prompt) = self.body.get(value.clone())
        {
            let mut messages = br#""messages":[{"role":"user","content":"#.to_vec();
            messages.extend_from_slice(prompt);
            messages.extend_from_slice(b"}]");
            edits.replace(member.clone(), messages);
        }
        if let Some(cap) = output_cap {
            self.write_cap(&mut edits, kind, cap);
        }
        if self.hides_usage() {
            self.write_into(&mut edits, "stream_options", "include_usage", "true");
        }
        edits.apply(self.body.clone())
    }

    /// Each bound that is there and above the cap is lowered to it; and there is one in a field that the engine obeys.
    fn write_cap(&self, edits: &mut Edits, kind: UpstreamKind, cap: u64) {
        for place in self.places.caps.iter().filter(|place| place.asked.is_none_or(|asked| asked > cap)) {
            edits.replace(place.range.clone(), cap.to_string());
        }
        let obeys = |field: CapField| match field {
            CapField::MaxTokens | CapField::NumPredict => true,
            CapField::NPredict => kind == UpstreamKind::LlamaCpp,
            // Ollama does not know it.
            CapField::MaxCompletionTokens => kind != UpstreamKind::Ollama,
        };
        if self.places.caps.iter().any(|place| obeys(place.field)) {
            return;
        }
        if self.route().dialect == Dialect::Ollama {
            self.write_into(edits, "options", "num_predict", &cap.to_string());
        } else if let Some(body) = self.places.body {
            edits.insert_member(body, "max_tokens", &cap.to_string());
        }
    }

    /// Sets a member of an object that may be there, be null, or not be there.
    fn write_into(&self, edits: &mut Edits, object: &'static str, key: &'static str, value: &str) {
        let (place, known) = if object == "options" {
            (&self.places.options, None)
        } else {
            (&self.places.stream_options, self.places.include_usage.as_ref())
        };
        match (known, place, self.places.body) {
            (Some(range), _, _) => edits.replace(range.clone(), value),
            (None, Some(Object::Here(tail)), _) => edits.insert_member(*tail, key, value),
            (None, Some(Object::Null(range)), _) => {
                edits.replace(range.clone(), format!("{{\"{key}\":{value}}}"))
            }
            (None, None, Some(body)) => edits.insert_member(body, object, &format!("{{\"{key}\":{value}}}")),
            (None, None, None) => {}
        }
    }
}
