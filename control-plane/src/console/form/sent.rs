//! What is in a form: as somebody sent it, or as it is to be shown first.

use super::Wrong;
use crate::domain::word::Word;

/// The fields of a form. One that can have several values is there once for each.
#[derive(Debug, Default)]
pub(in crate::console) struct Sent(Vec<(String, String)>);

impl<V: Into<String>> FromIterator<(&'static str, V)> for Sent {
    fn from_iter<I: IntoIterator<Item = (&'static str, V)>>(fields: I) -> Self {
        Self(fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
    }
}

impl Sent {
    pub(super) fn new(fields: Vec<(String, String)>) -> Self {
        Self(fields)
    }

    /// Without white space around it; empty when it was not sent. Browsers end lines as the network does; a text is the
    /// same text however they end.
    pub(in crate::console) fn text(&self, name: &str) -> String {
        let found = self.0.iter().find(|(of, _)| of == name);
        found.map(|(_, value)| value.trim().replace("\r\n", "\n")).unwrap_or_default()
    }

    /// Parts between commas.
    pub(in crate::console) fn list(&self, name: &str) -> Vec<String> {
        parts(self.text(name).split(','))
    }

    /// One on each line, so that a part may have a comma.
    pub(in crate::console) fn lines(&self, name: &str) -> Vec<String> {
        parts(self.text(name).lines())
    }

    /// What was chosen of a group of boxes.
    pub(in crate::console) fn chosen(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(of, _)| of == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Of one closed set.
    pub(in crate::console) fn word<W: Word>(&self, name: &str) -> Result<W, Wrong> {
        W::from_name(&self.text(name)).ok_or_else(|| Wrong::not_one_of_these(name))
    }

    /// Boxes of one closed set.
    pub(in crate::console) fn words<W: Word>(&self, name: &str) -> Result<Vec<W>, Wrong> {
        let chosen = self.chosen(name).into_iter();
        chosen.map(|of| W::from_name(of).ok_or_else(|| Wrong::not_one_of_these(name))).collect()
    }

    /// With or without commas; `None` when there is nothing.
    pub(in crate::console) fn number(&self, name: &str) -> Result<Option<u64>, Wrong> {
        let text = self.text(name).replace([',', ' '], "");
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| Wrong::not_a_number(name))
    }

    /// One that there must be.
    pub(in crate::console) fn some_number(&self, name: &str) -> Result<u64, Wrong> {
        self.number(name)?.ok_or_else(|| Wrong::not_a_number(name))
    }
}

fn parts<'a>(parts: impl Iterator<Item = &'a str>) -> Vec<String> {
    parts.map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}
