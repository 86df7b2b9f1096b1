//! A sign of life to the control plane, and the measurement of the clocks that its reply allows.

use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use tokio::time::Instant;

/// How often one is sent.
pub(super) const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);

/// Without a word for three heartbeats, the other end is gone, whatever the network says.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

/// The heartbeat whose reply is awaited.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) at: Timestamp,
    pub(super) instant: Instant,
}

impl Sent {
    /// How far this clock is ahead of the control plane's: half of the round trip, the reply's clock was read.
    /// `None` for the reply to another heartbeat, or one that makes no sense.
    pub(super) fn offset(
        &self,
        sent_at: Option<&pbjson_types::Timestamp>,
        received_at: Option<&pbjson_types::Timestamp>,
        now: Instant,
    ) -> Option<SignedDuration> {
        let (sent_at, received_at) = (moment(sent_at?)?, moment(received_at?)?);
        if sent_at != self.at {
            return None;
        }
        let half = SignedDuration::try_from(now.duration_since(self.instant) / 2).ok()?;
        self.at.checked_add(half).ok()?.duration_since(received_at).into()
    }
}

pub(super) fn duration_to_wire(duration: SignedDuration) -> pbjson_types::Duration {
    pbjson_types::Duration { seconds: duration.as_secs(), nanos: duration.subsec_nanos() }
}

fn moment(wire: &pbjson_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(wire.seconds, wire.nanos).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use attach_proto::timestamp as to_wire;

    #[tokio::test]
    async fn the_offset_is_measured_at_the_middle_of_the_round_trip() {
        let at: Timestamp = "2026-11-05T12:00:00Z".parse().unwrap();
        let instant = Instant::now();
        let sent = Sent { at, instant };
        let theirs = to_wire("2026-11-05T11:59:58Z".parse().unwrap());
        let after = instant + Duration::from_secs(1);
        let offset = sent.offset(Some(&to_wire(at)), Some(&theirs), after);
        assert_eq!(offset, Some(SignedDuration::from_millis(2_500)));
        assert_eq!(duration_to_wire(SignedDuration::from_millis(-1_500)).nanos, -500_000_000);
        let wild = pbjson_types::Timestamp { seconds: i64::MAX, nanos: 0 };
        assert_eq!(sent.offset(Some(&theirs), Some(&theirs), after), None, "of another heartbeat");
        assert_eq!(sent.offset(Some(&to_wire(at)), Some(&wild), after), None);
        assert_eq!(sent.offset(Some(&to_wire(at)), None, after), None);
    }
}
