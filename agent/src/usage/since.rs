//! A point in time on the command line.

use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use std::str::FromStr;

/// A point in time, as a person says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    Ago(SignedDuration),
    At(Timestamp),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be like 24h, 7d, 2026-11-01 or 2026-11-01T08:00:00Z")]
pub(crate) struct InvalidSince;

impl Since {
    pub(super) fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(duration) => now.checked_sub(duration).unwrap_or(Timestamp::MIN),
            Self::At(at) => at,
        }
    }
}

impl FromStr for Since {
    type Err = InvalidSince;

    fn from_str(text: &str) -> Result<Self, InvalidSince> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        // A time without a zone would be read as its day.
        if !text.contains('T')
            && let Ok(day) = text.parse::<civil::Date>()
        {
            let midnight = day.to_zoned(TimeZone::UTC).map_err(|_| InvalidSince)?;
            return Ok(Self::At(midnight.timestamp()));
        }
        let seconds_per_unit = match text.chars().last() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 60 * 60,
            Some('d') => 24 * 60 * 60,
            Some('w') => 7 * 24 * 60 * 60,
            _ => return Err(InvalidSince),
        };
        let number = text.get(..text.len() - 1).and_then(|number| number.parse::<u32>().ok());
        let seconds = i64::from(number.ok_or(InvalidSince)?) * seconds_per_unit;
        Ok(Self::Ago(SignedDuration::from_secs(seconds)))
    }
}
