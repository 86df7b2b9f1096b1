//! Lists in parts: `?limit=&cursor=`, and the cursor of the next part in the answer.

use super::problem::Problem;
use crate::{
    db::consumption::EventPlace,
    domain::page::{Page, Part},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// How many items at most; 50 without a word.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u16>,
    /// `next_cursor` of the part before.
    cursor: Option<String>,
}

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List<T> {
    items: Vec<T>,
    /// To be sent as `cursor` for what comes next; missing at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// What a cursor says: the key of the last item that was seen.
pub(crate) trait Place: Sized {
    fn write(&self) -> String;

    fn read(text: &str) -> Option<Self>;
}

impl Place for String {
    fn write(&self) -> String {
        self.clone()
    }

    fn read(text: &str) -> Option<Self> {
        (!text.contains(char::is_control)).then(|| text.to_owned())
    }
}

impl Place for i64 {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Place for EventPlace {
    fn write(&self) -> String {
        format!("{} {}", self.occurred_at, self.event_id)
    }

    fn read(text: &str) -> Option<Self> {
        let (at, id) = text.split_once(' ')?;
        let has_its_place = |(at, byte): (usize, u8)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        };
        let is_uuid = id.len() == 36 && id.bytes().enumerate().all(has_its_place);
        let place = Self { occurred_at: at.parse().ok()?, event_id: id.to_owned() };
        is_uuid.then_some(place)
    }
}

impl Paging {
    pub(crate) fn page<K: Place>(&self) -> Result<Page<K>, Problem> {
        let limit = self.limit.unwrap_or(Page::<K>::USUAL);
        if !(1..=Page::<K>::MAX).contains(&limit) {
            let problem = format!("must be between 1 and {}", Page::<K>::MAX);
            return Err(Problem::field("limit", problem));
        }
        let after = self.cursor.as_deref().map(|cursor| {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok();
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            text.and_then(|text| K::read(&text))
                .ok_or_else(|| Problem::field("cursor", "is not a cursor that this list gave"))
        });
        Ok(Page { after: after.transpose()?, limit })
    }
}

impl<T> List<T> {
    /// `place` is the key of an item.
    pub(crate) fn new<R, K: Place>(part: Part<R>, place: impl Fn(&R) -> K, item: impl Fn(R) -> T) -> Self {
        let next = if part.has_more { part.items.last().map(|last| place(last).write()) } else { None };
        Self {
            items: part.items.into_iter().map(item).collect(),
            next_cursor: next.map(|text| BASE64_URL_SAFE_NO_PAD.encode(text)),
        }
    }
}
