//! A new certificate in good time before the old one ends.

use super::{
    acceptor::Acceptor,
    acme::Acme,
    authority::{Issued, SelfSigned},
    pair::Pair,
    standing::TlsStanding,
    trust,
};
use crate::{
    backoff::Backoff,
    clock::Clock,
    validity::{RENEW_AT, Validity, until},
};
use std::{sync::Arc, time::Duration};

/// The wall clock is looked at this often, for it may be set while we wait.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Between two tries after what may be over in a moment. A certificate of a day has eight hours left, which hold a
/// hundred of them at least.
const SOON: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(300)];

/// Between two tries after a refusal, which somebody has to do something about. Public authorities take five failures of
/// a name in an hour; doubling from here comes to that, and the ten days that are left of thirty hold fifty tries.
const LATER: [Duration; 2] = [Duration::from_secs(240), Duration::from_secs(4 * 3600)];

/// Full jitter may come to nothing, and refused means refused.
const LATER_AT_LEAST: Duration = Duration::from_secs(60);

/// Why a try brought no certificate.
#[derive(Debug)]
pub(super) struct Failure {
    /// What, where, and what to do.
    pub(super) problem: String,
    pub(super) is_refusal: bool,
}

/// Who makes certificates for us.
pub(super) enum Issuer {
    Own(SelfSigned),
    Acme(Box<Acme>),
}

impl Issuer {
    async fn obtain(&self, clock: &Clock) -> Result<Pair, Failure> {
        match self {
            Self::Own(own) => {
                let (own, now) = (own.clone(), clock.now());
                let issued = tokio::task::spawn_blocking(move || own.issue(now)).await;
                let failure = |problem: String| Failure { problem, is_refusal: false };
                let issued = issued.map_err(|error| failure(error.to_string()))?;
                let Issued { pair, new_authority } = issued.map_err(|fault| failure(fault.to_string()))?;
                if let Some(made) = &new_authority {
                    trust::explain(made);
                }
                Ok(pair)
            }
            Self::Acme(acme) => acme.obtain().await,
        }
    }
}

/// Whose certificate is renewed.
pub(super) struct Renewal {
    pub(super) issuer: Issuer,
    pub(super) acceptor: Acceptor,
    pub(super) standing: Arc<TlsStanding>,
    pub(super) clock: Clock,
}

impl Renewal {
    /// Waits until the one that is held is due, or not at all where there is none, and then tries until there is another.
    /// Runs until it is dropped.
    pub(super) async fn run(&self, mut held: Option<Validity>) {
        loop {
            if let Some(validity) = held {
                let due = validity.at(rand::random_range(RENEW_AT));
                while self.clock.now() < due {
                    tokio::time::sleep(until(due, self.clock.now()).min(LOOK_EVERY)).await;
                }
            }
            held = Some(self.replace().await);
        }
    }

    async fn replace(&self) -> Validity {
        let [mut soon, mut later] = [SOON, LATER].map(|[first, longest]| Backoff::new(first, longest));
        loop {
            let Failure { problem, is_refusal } = match self.serve(self.issuer.obtain(&self.clock).await) {
                Ok(pair) => {
                    tracing::info!(certificate.ends = %pair.validity.not_after, "a new certificate is served");
                    return pair.validity;
                }
                Err(failure) => failure,
            };
            let pause = if is_refusal { later.next().max(LATER_AT_LEAST) } else { soon.next() };
            let held = self.standing.look().validity.map_or_else(
                || "no caller can connect until there is one".to_owned(),
                |held| format!("the one that is held ends {}", held.not_after),
            );
            tracing::warn!("no new certificate: {problem}; {held}; the next try is in {} s", pause.as_secs());
            self.standing.failed(problem);
            tokio::time::sleep(pause).await;
        }
    }

    fn serve(&self, obtained: Result<Pair, Failure>) -> Result<Pair, Failure> {
        let pair = obtained?;
        let unusable = |error: rustls::Error| Failure { problem: error.to_string(), is_refusal: false };
        self.acceptor.serve(pair.clone()).map_err(unusable)?;
        self.standing.serves(&pair);
        Ok(pair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{SignedDuration, Timestamp};
    use std::sync::atomic::{AtomicI64, Ordering};

    #[tokio::test]
    async fn a_certificate_is_replaced_at_two_thirds_of_its_life_and_a_failed_try_takes_nothing_away() {
        let folder = tempfile::tempdir().unwrap();
        let own = SelfSigned { folder: folder.path().to_owned(), names: vec!["localhost".to_owned()] };
        let start: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let time = Arc::new(AtomicI64::new(start.as_millisecond()));
        let standing = Arc::new(TlsStanding::default());
        let first = own.issue(start).unwrap().pair;
        let of_a_second = Validity { not_before: start, not_after: start + SignedDuration::from_secs(1) };
        standing.serves(&Pair { validity: of_a_second, ..first });
        let authority = folder.path().join("authority.pem");
        let good = std::fs::read(&authority).unwrap();
        std::fs::write(&authority, "damaged").unwrap();
        let renewal = Renewal {
            issuer: Issuer::Own(own),
            acceptor: Acceptor::new(),
            standing: Arc::clone(&standing),
            clock: Clock::Manual(Arc::clone(&time)),
        };
        let story = async {
            // By its own clock it waits still, however long that takes.
            tokio::time::sleep(Duration::from_millis(800)).await;
            assert_eq!((standing.look().changes, standing.look().failures), (1, 0));
            time.store(start.as_millisecond() + 700, Ordering::Relaxed);
            while standing.look().failures == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(standing.look().validity, Some(of_a_second));
            assert!(standing.look().problem.unwrap().contains("authority.pem"));
            std::fs::write(&authority, &good).unwrap();
            while standing.look().changes == 1 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = renewal.run(Some(of_a_second)) => {}
            () = story => {}
            () = tokio::time::sleep(Duration::from_secs(60)) => panic!("never renewed"),
        }
        let state = standing.look();
        assert_eq!(state.problem, None);
        assert!(state.validity.unwrap().not_after > of_a_second.not_after);
    }
}
