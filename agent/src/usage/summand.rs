//! What of a usage event is summed, read from its wire form where it stands. To decode it all cost two thirds of the
//! writer's time.

use super::fields::{Fields, Malformed, Value};
use std::str;

/// A part of `v1::UsageEvent`; the numbers of the fields are those of `usage.proto`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Summand<'e> {
    pub(super) tenant: &'e str,
    pub(super) model: &'e str,
    pub(super) principal: Payer<'e>,
    pub(super) measures: Vec<Measured<'e>>,
}

/// A part of `v1::PrincipalSnapshot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Payer<'e> {
    pub(super) kind: i32,
    pub(super) subject: &'e str,
    pub(super) issuer: &'e str,
}

/// `v1::MeasuredQuantity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Measured<'e> {
    pub(super) kind: &'e str,
    pub(super) quantity: u64,
    pub(super) source: i32,
}

impl<'e> Summand<'e> {
    /// # Errors
    ///
    /// The body is no usage event.
    pub(super) fn read(body: &'e [u8]) -> Result<Self, Malformed> {
        // Two of tokens, as a rule.
        let mut summand = Self { measures: Vec::with_capacity(2), ..Self::default() };
        for field in Fields::of(body) {
            match field? {
                (3, Value::Bytes(bytes)) => summand.tenant = text(bytes)?,
                (9, Value::Bytes(bytes)) => summand.model = text(bytes)?,
                (11, Value::Bytes(bytes)) => summand.principal = Payer::read(bytes)?,
                (12, Value::Bytes(bytes)) => summand.measures.push(Measured::read(bytes)?),
                (3 | 9 | 11 | 12, _) => return Err(Malformed),
                _ => {}
            }
        }
        Ok(summand)
    }
}

impl<'e> Payer<'e> {
    fn read(message: &'e [u8]) -> Result<Self, Malformed> {
        let mut payer = Self::default();
        for field in Fields::of(message) {
            match field? {
                (1, Value::Varint(number)) => payer.kind = number as i32,
                (2, Value::Bytes(bytes)) => payer.subject = text(bytes)?,
                (3, Value::Bytes(bytes)) => payer.issuer = text(bytes)?,
                (1..=3, _) => return Err(Malformed),
                _ => {}
            }
        }
        Ok(payer)
    }
}

impl<'e> Measured<'e> {
    fn read(message: &'e [u8]) -> Result<Self, Malformed> {
        let mut measured = Self::default();
        for field in Fields::of(message) {
            match field? {
                (1, Value::Bytes(bytes)) => measured.kind = text(bytes)?,
                (2, Value::Varint(number)) => measured.quantity = number,
                (3, Value::Varint(number)) => measured.source = number as i32,
                (1..=3, _) => return Err(Malformed),
                _ => {}
            }
        }
        Ok(measured)
    }
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    str::from_utf8(bytes).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use attach_proto::v1;
    use prost::Message as _;

    #[test]
    fn it_is_what_the_event_says_and_a_body_cut_short_is_none() {
        let measured = |kind: &str, quantity, source: v1::MeasureSource| v1::MeasuredQuantity {
            kind: kind.to_owned(),
            quantity,
            source: source.into(),
        };
        let event = v1::UsageEvent {
            event_id: "an id".to_owned(),
            tenant: "acme".to_owned(),
            request_id: "another".to_owned(),
            model: "llama3".to_owned(),
            stream: true,
            principal: Some(v1::PrincipalSnapshot {
                kind: v1::PrincipalKind::Service.into(),
                subject: "älice".to_owned(),
                issuer: "https://id.example".to_owned(),
                key: "k-1".to_owned(),
                groups: vec!["g".to_owned()],
                project: "p".to_owned(),
                organisation: "o".to_owned(),
                cost_centre: "c".to_owned(),
                email: "e".to_owned(),
                delegated_by: "k".to_owned(),
            }),
            measures: vec![
                measured("output_tokens", 7, v1::MeasureSource::Engine),
                measured("input_tokens", u64::MAX, v1::MeasureSource::Estimated),
            ],
            http_status: 200,
            attempts: vec![v1::Attempt { upstream: "local".to_owned(), ..v1::Attempt::default() }],
            ..v1::UsageEvent::default()
        };
        let expected = Summand {
            tenant: "acme",
            model: "llama3",
            principal: Payer {
                kind: v1::PrincipalKind::Service.into(),
                subject: "älice",
                issuer: "https://id.example",
            },
            measures: vec![
                Measured { kind: "output_tokens", quantity: 7, source: v1::MeasureSource::Engine.into() },
                Measured {
                    kind: "input_tokens",
                    quantity: u64::MAX,
                    source: v1::MeasureSource::Estimated.into(),
                },
            ],
        };
        let body = event.encode_to_vec();
        assert_eq!(Summand::read(&body), Ok(expected));
        for length in 0..body.len() {
            let cut = &body[..length];
            assert_eq!(Summand::read(cut).is_ok(), v1::UsageEvent::decode(cut).is_ok(), "cut at {length}");
        }
        assert_eq!(Summand::read(&[0x1a, 1, 0xff]), Err(Malformed), "not UTF-8");
        assert_eq!(Summand::read(&[0x18, 1]), Err(Malformed), "a number where a string is");
    }
}
