//! Lists in parts: `?after=` the last item that was seen.

use crate::domain::page::Page;
use serde::Deserialize;
use std::str::FromStr;

#[derive(Debug, Default, Deserialize)]
pub(super) struct After {
    after: Option<String>,
}

impl After {
    /// What is no place in the list is its beginning.
    pub(super) fn page<K: FromStr>(&self) -> Page<K> {
        let after = self.after.as_deref().filter(|text| !text.contains('\0'));
        Page { after: after.and_then(|text| text.parse().ok()), limit: Page::<K>::MAX }
    }
}
