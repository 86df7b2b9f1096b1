//! What of a usage event is summed, read from its wire form. The rest, which is most of it, is passed over: to decode it
//! all cost two thirds of the writer's time.

use prost::Message;

/// A part of `v1::UsageEvent`; the tags are those of `usage.proto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Summand {
    #[prost(string, tag = "3")]
    pub(super) tenant: String,
    #[prost(string, tag = "9")]
    pub(super) model: String,
    #[prost(message, optional, tag = "11")]
    pub(super) principal: Option<Payer>,
    #[prost(message, repeated, tag = "12")]
    pub(super) measures: Vec<Measured>,
}

/// A part of `v1::PrincipalSnapshot`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Payer {
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(string, tag = "2")]
    pub(super) subject: String,
    #[prost(string, tag = "3")]
    pub(super) issuer: String,
}

/// `v1::MeasuredQuantity`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Measured {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(uint64, tag = "2")]
    pub(super) quantity: u64,
    #[prost(int32, tag = "3")]
    pub(super) source: i32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use attach_proto::v1;

    #[test]
    fn it_is_what_the_event_says() {
        let event = v1::UsageEvent {
            tenant: "acme".to_owned(),
            model: "llama3".to_owned(),
            principal: Some(v1::PrincipalSnapshot {
                kind: v1::PrincipalKind::Service.into(),
                subject: "alice".to_owned(),
                issuer: "https://id.example".to_owned(),
                key: "k-1".to_owned(),
                groups: vec!["g".to_owned()],
                project: "p".to_owned(),
            }),
            measures: vec![v1::MeasuredQuantity {
                kind: "output_tokens".to_owned(),
                quantity: 7,
                source: v1::MeasureSource::Engine.into(),
            }],
            event_id: "an id".to_owned(),
            request_id: "another".to_owned(),
            stream: true,
            ..v1::UsageEvent::default()
        };
        let summand = Summand {
            tenant: event.tenant.clone(),
            model: event.model.clone(),
            principal: Some(Payer {
                kind: v1::PrincipalKind::Service.into(),
                subject: "alice".to_owned(),
                issuer: "https://id.example".to_owned(),
            }),
            measures: vec![Measured {
                kind: "output_tokens".to_owned(),
                quantity: 7,
                source: v1::MeasureSource::Engine.into(),
            }],
        };
        assert_eq!(Summand::decode(event.encode_to_vec().as_slice()).unwrap(), summand);
    }
}
