//! A field, as it is shown: with its words in it, and with what is wrong beside it.

use super::{Sent, Wrong};
use crate::domain::word::Word;
use askama::Template;

pub(in crate::console) enum Kind {
    Text,
    Number,
    /// As many lines as one likes.
    Lines,
    /// Never shown again.
    Secret,
    /// Values, and what they are called.
    Choice(Vec<(String, String)>),
    /// As many of them as one likes; the field's value has those that are chosen, with commas between.
    Boxes(Vec<(&'static str, &'static str)>),
}

impl Kind {
    /// One of a closed set.
    pub(in crate::console) fn one_of<W: Word>(text: fn(W) -> &'static str) -> Self {
        Self::Choice(W::ALL.iter().map(|word| (word.name().to_owned(), text(*word).to_owned())).collect())
    }

    pub(in crate::console) fn choice(of: &[(&str, &str)]) -> Self {
        Self::Choice(of.iter().map(|(value, text)| ((*value).to_owned(), (*text).to_owned())).collect())
    }
}

/// So that a field of lines looks like one.
const FEWEST_ROWS: usize = 2;

/// The rest scrolls.
const MOST_ROWS: usize = 12;

#[derive(Template)]
#[template(path = "field.html")]
pub(in crate::console) struct Field {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    hint: &'static str,
    kind: Kind,
    value: String,
    pub(super) error: Option<String>,
}

impl Field {
    pub(in crate::console) fn new(
        kind: Kind,
        name: &'static str,
        label: &'static str,
        hint: &'static str,
        value: impl Into<String>,
    ) -> Self {
        Self { name, label, hint, kind, value: value.into(), error: None }
    }

    pub(in crate::console) fn text(
        name: &'static str,
        label: &'static str,
        hint: &'static str,
        value: impl Into<String>,
    ) -> Self {
        Self::new(Kind::Text, name, label, hint, value)
    }

    /// With the value of that name.
    pub(in crate::console) fn of(
        kind: Kind,
        name: &'static str,
        label: &'static str,
        hint: &'static str,
        sent: &Sent,
    ) -> Self {
        let value = match kind {
            Kind::Boxes(_) => sent.chosen(name).join(","),
            Kind::Text | Kind::Number | Kind::Lines | Kind::Secret | Kind::Choice(_) => sent.text(name),
        };
        Self::new(kind, name, label, hint, value)
    }

    /// Of what is new, and has this name from now on.
    pub(in crate::console) fn id(sent: &Sent) -> Self {
        Self::of(Kind::Text, "id", "Id", "Letters, digits and . _ - : @; it never changes.", sent)
    }

    /// The field that is wrong, with what is wrong beside it from now on.
    pub(in crate::console) fn mark<'a>(
        mut fields: impl Iterator<Item = &'a mut Self>,
        wrong: &Wrong,
    ) -> Option<&'a Self> {
        let field = fields.find(|field| field.name == wrong.field)?;
        field.error = Some(wrong.problem.clone());
        Some(field)
    }

    /// Of a field of lines: all that it has and one more, within what a screen has room for.
    fn rows(&self) -> usize {
        (self.value.lines().count() + 1).clamp(FEWEST_ROWS, MOST_ROWS)
    }

    fn is_chosen(&self, value: &str) -> bool {
        self.value.split(',').any(|chosen| chosen == value)
    }

    /// The attribute by which a reader is told of the hint and the error. It holds nothing that anybody sent.
    fn described(&self) -> String {
        let mut ids = Vec::new();
        if !self.hint.is_empty() {
            ids.push(format!("{}-hint", self.name));
        }
        if self.error.is_some() {
            ids.push(format!("{}-error", self.name));
        }
        if ids.is_empty() { String::new() } else { format!(" aria-describedby=\"{}\"", ids.join(" ")) }
    }

    fn aria(&self) -> String {
        let invalid = if self.error.is_some() { " aria-invalid=\"true\"" } else { "" };
        format!("{}{invalid}", self.described())
    }
}

/// Fields that few need: folded, unless one of them has something.
pub(in crate::console) struct Group {
    pub(super) title: &'static str,
    pub(super) text: &'static str,
    pub(super) fields: Vec<Field>,
}

impl Group {
    pub(in crate::console) fn new(title: &'static str, text: &'static str, fields: Vec<Field>) -> Self {
        Self { title, text, fields }
    }

    pub(super) fn is_open(&self) -> bool {
        self.fields.iter().any(|field| !field.value.is_empty() || field.error.is_some())
    }
}
