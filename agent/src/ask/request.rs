//! What one request asks for, as the stages after it see it.

use super::{
    body::Room,
    rewrite::Places,
    route::{BodyUse, Classified, Route},
    upload::Upload,
};
use attach_proto::{
    id::{ModelName, UpstreamId},
    route::{Dialect, Operation},
};
use bytes::Bytes;
use http::Method;
use std::borrow::Cow;

/// What one request asks for.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(super) classified: Classified,
    pub(super) model: Option<ModelName>,
    /// The other model that a change is about: what it is made of, or the copy's name.
    pub(super) other_model: Option<ModelName>,
    pub(super) stream: bool,
    pub(super) input_estimate: u64,
    pub(super) output_asked: Option<u64>,
    pub(super) choices: u64,
    /// Whether the caller itself asked for usage in the stream.
    pub(super) wants_usage: bool,
    pub(super) body: Bytes,
    pub(super) places: Places,
    pub(super) room: Option<Room>,
    /// Instead of the body.
    pub(super) upload: Option<Upload>,
}

/// What an engine is told of the body's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    None,
    /// It was read as JSON, so that is what it is, whatever the caller called it.
    Json,
    /// The caller's own words.
    AsItCame,
}

impl Ask {
    pub(crate) fn route(&self) -> &Route {
        &self.classified.route
    }

    pub(crate) fn method(&self) -> &Method {
        &self.classified.method
    }

    /// Path and query at the engine, below the path of its own URL.
    pub(crate) fn engine_path(&self, prefix: &str, engine_model: Option<&ModelName>) -> String {
        let Classified { path, model_in_path, query, .. } = &self.classified;
        let model = engine_model.filter(|_| model_in_path.is_some()).map_or("", ModelName::as_str);
        let query = query.as_ref().map(|query| ["?", query]).unwrap_or_default().concat();
        [prefix, path, model, &query].concat()
    }

    /// For the log, the metrics and the usage event.
    pub(crate) fn operation_name(&self) -> Cow<'static, str> {
        self.classified.operation_name()
    }

    /// The one engine that it may go to, by the word of the operator.
    pub(crate) fn opened_for(&self) -> Option<&UpstreamId> {
        self.classified.opened.as_ref()?.upstream.as_ref()
    }

    /// The engine that the caller names.
    pub(crate) fn named_upstream(&self) -> Option<&str> {
        self.classified.upstream.as_deref()
    }

    /// All models that a permission must cover.
    pub(crate) fn models(&self) -> impl Iterator<Item = &ModelName> {
        self.model.iter().chain(&self.other_model)
    }

    pub(crate) fn model(&self) -> Option<&ModelName> {
        self.model.as_ref()
    }

    pub(crate) fn stream(&self) -> bool {
        self.stream
    }

    /// Tokens, roughly.
    pub(crate) fn input_estimate(&self) -> u64 {
        self.input_estimate
    }

    /// Output tokens that the caller allows for each choice.
    pub(crate) fn output_asked(&self) -> Option<u64> {
        self.output_asked
    }

    pub(crate) fn choices(&self) -> u64 {
        self.choices
    }

    /// Whether the engine makes text. Embeddings have no output tokens.
    pub(crate) fn generates(&self) -> bool {
        matches!(self.route().operation, Operation::Chat | Operation::Completion)
    }

    /// Gives the body's memory back, for a stream may go on for minutes.
    pub(crate) fn forget_body(&mut self) {
        self.body = Bytes::new();
        self.room = None;
    }

    /// Which of the caller's words on its body the engine gets.
    pub(crate) fn content(&self) -> Content {
        match self.classified.body_use() {
            BodyUse::Ignored => Content::None,
            BodyUse::Asks | BodyUse::Changes => Content::Json,
            BodyUse::PassesWhole if self.body.is_empty() => Content::None,
            BodyUse::PassesWhole | BodyUse::Streams => Content::AsItCame,
        }
    }

    pub(crate) fn take_upload(&mut self) -> Option<Upload> {
        self.upload.take()
    }

    pub(super) fn about(self, model: ModelName, other_model: Option<ModelName>) -> Self {
        Self { model: Some(model), other_model, ..self }
    }

    /// A request of which nothing is read, or what is read is put in after.
    pub(super) fn passing(classified: Classified, body: Bytes, room: Option<Room>) -> Self {
        Self {
            classified,
            model: None,
            other_model: None,
            stream: false,
            input_estimate: 0,
            output_asked: None,
            choices: 1,
            wants_usage: false,
            body,
            places: Places::default(),
            room,
            upload: None,
        }
    }

    /// Whether usage must be forced into the stream, and hidden from the caller again. Only OpenAI's dialect leaves it
    /// out of a stream unless asked.
    pub(crate) fn hides_usage(&self) -> bool {
        self.stream && self.generates() && self.route().dialect == Dialect::OpenAi && !self.wants_usage
    }
}
