//! Lists are read in parts: what comes after a place, at most so many.

/// Which part of a list. A place is the key of the last item that was seen, so nothing is skipped or seen twice when
/// items come and go in between.
#[derive(Debug, Clone)]
pub struct Page<K> {
    pub after: Option<K>,
    pub limit: u16,
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Part<T> {
    pub items: Vec<T>,
    /// Whether something comes after it.
    pub has_more: bool,
}

impl<K> Page<K> {
    /// The most that one part holds: some 100 KiB of JSON, and a page that is still read in one go.
    pub const MAX: u16 = 200;

    /// What fits a screen or two.
    pub const USUAL: u16 = 50;

    pub fn first() -> Self {
        Self { after: None, limit: Self::MAX }
    }

    /// One more than asked for, to know whether there is more.
    pub(crate) fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    pub(crate) fn part<T>(&self, mut items: Vec<T>) -> Part<T> {
        let has_more = items.len() > usize::from(self.limit);
        items.truncate(self.limit.into());
        Part { items, has_more }
    }
}

impl<T> Part<T> {
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Part<U> {
        Part { items: self.items.into_iter().map(convert).collect(), has_more: self.has_more }
    }
}
