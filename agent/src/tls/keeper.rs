//! Keeps the listener's certificate good.

use super::{
    acceptor::Acceptor, clients::ClientSettings, files::TlsFiles, pair::Pair, renewal::Renewal,
    source::Source, standing::TlsStanding,
};
use crate::{
    clock::Clock,
    validity::{Validity, until},
    watched::Watched,
};
use jiff::{SignedDuration, Timestamp};
use std::{sync::Arc, time::Duration};

/// Who holds a certificate is warned in the last fifth of its life, and of a long-lived one in the last fortnight: what
/// renews by itself does so at two thirds, and people need some days.
const WARN_IN_LAST: f64 = 0.2;
const WARN_AT_MOST: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Often enough to be seen, seldom enough to be read.
const WARN_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// The wall clock is looked at this often, for it may be set while we wait.
const LOOK_EVERY: Duration = Duration::from_secs(60);

pub(crate) struct Keeper {
    pub(super) source: Source,
    pub(super) clients: Option<(ClientSettings, Watched)>,
    pub(super) acceptor: Acceptor,
    pub(super) standing: Arc<TlsStanding>,
    pub(super) clock: Clock,
}

impl Keeper {
    /// Runs until it is dropped.
    pub(crate) async fn run(self) {
        let Self { source, clients, acceptor, standing, clock } = self;
        let certificates = async {
            match source {
                Source::Files { files, watched } => {
                    follow_files(&files, watched, &acceptor, &standing, &clock).await;
                }
                Source::Issuer { issuer, held, http_01 } => {
                    let (acceptor, standing) = (acceptor.clone(), Arc::clone(&standing));
                    let clock = clock.clone();
                    let renewal = Renewal { issuer, acceptor, standing, clock };
                    let answers = async {
                        if let Some(http_01) = http_01 {
                            http_01.run().await;
                        }
                    };
                    tokio::join!(renewal.run(held), answers);
                }
            }
        };
        let clients = async {
            if let Some((settings, watched)) = clients {
                follow_clients(&settings, watched, &acceptor, &standing).await;
            }
        };
        tokio::join!(certificates, clients, warn_before_the_end(&standing, &clock));
    }
}

/// Serves what the operator puts there, as long as it is good.
async fn follow_files(
    files: &TlsFiles,
    mut watched: Watched,
    acceptor: &Acceptor,
    standing: &TlsStanding,
    clock: &Clock,
) {
    loop {
        watched.changed().await;
        let pair = files.load().map_err(|fault| fault.to_string());
        let pair = pair.and_then(|pair| better_than_held(pair, files, standing, clock.now()));
        let served = pair.and_then(|pair| {
            acceptor.serve(pair.clone()).map_err(|error| format!("{files}: {error}"))?;
            Ok(pair)
        });
        match served {
            Ok(pair) => {
                standing.serves(&pair);
                tracing::info!(certificate.ends = %pair.validity.not_after, "{files} act now");
            }
            Err(problem) => {
                tracing::error!("{problem}; the certificate from before is served on");
                standing.failed(problem);
            }
        }
    }
}

/// Nothing is won by a certificate that has ended, where the one that is held has not.
fn better_than_held(
    pair: Pair,
    files: &TlsFiles,
    standing: &TlsStanding,
    now: Timestamp,
) -> Result<Pair, String> {
    let holds_a_good_one = standing.look().validity.is_some_and(|held| held.not_after > now);
    if pair.has_ended(now) && holds_a_good_one {
        let (path, ended) = (files.certificate.display(), pair.validity.not_after);
        return Err(format!("{path}: the certificate ended on {ended}; put one there that is in force"));
    }
    Ok(pair)
}

async fn follow_clients(
    settings: &ClientSettings,
    mut watched: Watched,
    acceptor: &Acceptor,
    standing: &TlsStanding,
) {
    loop {
        watched.changed().await;
        let trusted = settings.load().map_err(|fault| fault.to_string()).and_then(|authority| {
            acceptor.trust(authority).map_err(|error| format!("--tls-client-ca: {error}"))
        });
        match &trusted {
            Ok(()) => tracing::info!("{} acts now", settings.authority.display()),
            Err(problem) => tracing::error!("{problem}; the authorities from before count on"),
        }
        standing.note(|state| state.client_authority_problem = trusted.err());
    }
}

async fn warn_before_the_end(standing: &TlsStanding, clock: &Clock) {
    let mut warned: Option<(Validity, Timestamp)> = None;
    loop {
        let now = clock.now();
        if let Some(validity) = standing.look().validity {
            let is_said = warned.is_some_and(|(of, at)| of == validity && now < at + WARN_EVERY);
            if now >= warn_from(validity) && !is_said {
                warned = Some((validity, now));
                warn(validity, now);
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn warn_from(validity: Validity) -> Timestamp {
    let fifth = validity.at(1.0 - WARN_IN_LAST);
    fifth.max(validity.not_after.checked_sub(WARN_AT_MOST).unwrap_or(fifth))
}

fn warn(validity: Validity, now: Timestamp) {
    let ends = validity.not_after;
    if ends <= now {
        tracing::error!(certificate.ends = %ends, "the certificate has ended: callers that check it cannot connect");
    } else {
        let hours = until(ends, now).as_secs() / 3600;
        tracing::warn!(certificate.ends = %ends, "the certificate ends in {hours} h, and there is no new one yet");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_of_a_year_is_warned_of_for_a_fortnight_and_one_of_a_day_for_five_hours() {
        let not_before = Timestamp::UNIX_EPOCH;
        for (hours, warned) in [(365 * 24, 14 * 24), (24, 4), (90 * 24, 14 * 24)] {
            let not_after = not_before + SignedDuration::from_hours(hours);
            let last = not_after.duration_since(warn_from(Validity { not_before, not_after }));
            assert_eq!(last.as_hours(), warned, "of {hours} hours");
        }
    }
}
