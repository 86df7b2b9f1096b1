//! The scripts that run inside Redis, and how their keys and arguments are written.

use super::store::{Applied, RESERVATION_LIFE, Reservation, StoreClock, millis};
use ::redis::{Cmd, Script, cmd};
use attach_proto::{bundle::Measure, id::TenantId};
use aws_lc_rs::digest::{SHA256, digest};
use std::fmt::Write;
use uuid::Uuid;

/// Longest counter key that stands in Redis as it is: a limit's id, a UUID or mail address as subject, and a
/// model. Longer ones are replaced by their hash, so that a long subject costs its callers no memory.
const MAX_COUNTER_KEY_BYTES: usize = 200;

macro_rules! script {
    ($file:literal) => {
        Source::new(concat!(include_str!("counters.lua"), "\n", include_str!($file)))
    };
}

#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) admit: Source,
    pub(super) extend: Source,
    pub(super) settle: Source,
    pub(super) renew: Source,
    pub(super) release: Source,
}

#[derive(Debug)]
pub(super) struct Source {
    text: &'static str,
    sha1: String,
}

/// One call of a script: the keys and arguments, in the order in which the scripts document them.
#[derive(Debug)]
pub(super) struct Invocation {
    prefix: String,
    keys: Vec<String>,
    args: Vec<Vec<u8>>,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            admit: script!("admit.lua"),
            extend: script!("extend.lua"),
            settle: script!("settle.lua"),
            renew: script!("renew.lua"),
            release: script!("release.lua"),
        }
    }
}

impl Source {
    fn new(text: &'static str) -> Self {
        Self { text, sha1: Script::new(text).get_hash().to_owned() }
    }

    pub(super) fn by_hash(&self, invocation: &Invocation) -> Cmd {
        invocation.command("EVALSHA", &self.sha1)
    }

    /// Also loads it, for the calls by hash that follow.
    pub(super) fn by_text(&self, invocation: &Invocation) -> Cmd {
        invocation.command("EVAL", self.text)
    }
}

impl Invocation {
    pub(super) fn new(tenant: &TenantId, clock: &StoreClock) -> Self {
        // A tenant's id has no braces, so the hash tag is whole whatever follows, and all keys are in one slot.
        let prefix = format!("attach:{{{tenant}}}:");
        let keys = vec![format!("{prefix}r"), format!("{prefix}h")];
        let now = clock.manual().map(|now| now.to_string()).unwrap_or_default();
        let mut invocation = Self { prefix, keys, args: vec![now.into_bytes()] };
        invocation.number(millis(RESERVATION_LIFE));
        invocation
    }

    pub(super) fn id(&mut self, id: Uuid) -> &mut Self {
        self.args.push(id.as_bytes().to_vec());
        self
    }

    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        self.args.push(number.to_string().into_bytes());
        self
    }

    /// Measure, window and amount of each, with its key.
    pub(super) fn limits(&mut self, limits: &[Applied]) {
        for applied in limits {
            self.counter(applied);
            self.number(applied.amount);
        }
    }

    /// A reservation as settlement and renewal write it.
    pub(super) fn reservation(&mut self, reservation: &Reservation, input: u64, output: u64) {
        self.id(reservation.id).number(input).number(output).number(reservation.limits.len() as u64);
        for applied in reservation.limits.iter() {
            self.counter(applied);
        }
    }

    fn counter(&mut self, applied: &Applied) {
        self.keys.push(counter_key(&self.prefix, &applied.counter_key));
        let measure = match applied.measure {
            Measure::Requests => b"r",
            Measure::InputTokens => b"i",
            Measure::OutputTokens => b"o",
            Measure::TotalTokens => b"t",
        };
        self.args.push(measure.to_vec());
        self.number(millis(applied.window));
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.args);
        command
    }
}

/// `l=` and the key, or `l#` and its SHA-256: no plain key can be written that meets a hashed one.
fn counter_key(prefix: &str, key: &str) -> String {
    if key.len() <= MAX_COUNTER_KEY_BYTES {
        return format!("{prefix}l={key}");
    }
    let mut name = format!("{prefix}l#");
    for byte in digest(&SHA256, key.as_bytes()).as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_subject_cannot_reach_the_key_of_another() {
        let prefix = "attach:{acme}:";
        let long = counter_key(prefix, &"x".repeat(201));
        assert_eq!(long.len(), prefix.len() + 2 + 64);
        let forged = counter_key(prefix, long.strip_prefix(&format!("{prefix}l")).unwrap());
        assert_ne!(forged, long);
        assert_ne!(counter_key(prefix, ""), format!("{prefix}r"));
        assert_ne!(long, counter_key(prefix, &"y".repeat(201)));
    }
}
