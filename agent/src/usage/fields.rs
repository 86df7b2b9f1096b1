//! The fields of an encoded message (Protocol Buffers, "Encoding"), read where they stand: nothing is copied.

/// A message's fields as they come. Ends after the first fault.
#[derive(Debug, Clone)]
pub(super) struct Fields<'m>(&'m [u8]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'m> {
    Varint(u64),
    /// A string, a message, or bytes.
    Bytes(&'m [u8]),
    /// Of a fixed width; a usage event has none.
    Fixed,
}

/// What no encoder writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no encoded message")]
pub(super) struct Malformed;

impl<'m> Fields<'m> {
    pub(super) fn of(message: &'m [u8]) -> Self {
        Self(message)
    }

    fn field(&mut self) -> Result<(u64, Value<'m>), Malformed> {
        let key = self.varint()?;
        let value = match key & 0b111 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).map_err(|_| Malformed)?)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            // Groups are of proto2.
            _ => return Err(Malformed),
        };
        Ok((key >> 3, value))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            value |= u64::from(first & 0x7f) << shift;
            if *first < 0x80 {
                // The tenth byte has room for one bit.
                return if shift == 63 && *first > 1 { Err(Malformed) } else { Ok(value) };
            }
        }
        Err(Malformed)
    }

    fn take(&mut self, length: usize) -> Result<&'m [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }
}

impl<'m> Iterator for Fields<'m> {
    /// A field's number, and what it holds.
    type Item = Result<(u64, Value<'m>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_breaks_off_or_has_a_number_too_long_is_malformed() {
        for message in [
            &[0x08][..],
            &[0x08, 0x80],
            &[0x0a, 2, b'x'],
            &[0x0b],
            &[0x0d, 0, 0, 0],
            &[0x09, 0],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ] {
            assert_eq!(Fields::of(message).last(), Some(Err(Malformed)), "{message:?}");
        }
        let longest = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Fields::of(&longest).next(), Some(Ok((1, Value::Varint(u64::MAX)))));
    }
}
