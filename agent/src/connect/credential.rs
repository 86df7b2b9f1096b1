//! What is added to each request: a key, or a token that is renewed in time.

use crate::{
    clock::Clock,
    sign_in::{Kept, Need, SignIn, SignInError},
};
use http::HeaderValue;
use std::cell::RefCell;
use thiserror::Error;
use tokio::sync::Mutex;

pub(crate) enum Credential {
    /// From a file.
    Key(HeaderValue),
    Token(Box<Renewed>),
}

pub(crate) struct Renewed {
    sign_in: SignIn,
    clock: Clock,
    held: RefCell<Kept>,
    /// One asks the provider, the others wait for what comes of it.
    renewing: Mutex<()>,
}

#[derive(Debug, Error)]
pub(crate) enum NoCredential {
    #[error(transparent)]
    SignIn(#[from] SignInError),
    #[error("the gateway refuses this key")]
    Key,
    #[error("it cannot stand in a header")]
    Text,
}

impl Renewed {
    /// With the first token.
    pub(crate) fn new(sign_in: SignIn, first: Kept, clock: Clock) -> Self {
        Self { sign_in, clock, held: RefCell::new(first), renewing: Mutex::new(()) }
    }

    async fn token(&self, refused: Option<&HeaderValue>) -> Result<HeaderValue, NoCredential> {
        if let Some(held) = self.held_and_good(refused)? {
            return Ok(held);
        }
        let _turn = self.renewing.lock().await;
        if let Some(held) = self.held_and_good(refused)? {
            return Ok(held);
        }
        let held = self.held.borrow().clone();
        let other_than = refused.is_some().then_some(&held.access_token);
        let need = Need { other_than, is_fresh: false, has_person: false };
        let kept = self.sign_in.token(need).await?;
        let header = bearer(kept.access_token.secret())?;
        self.held.replace(kept);
        Ok(header)
    }

    fn held_and_good(&self, refused: Option<&HeaderValue>) -> Result<Option<HeaderValue>, NoCredential> {
        let held = self.held.borrow();
        let header = bearer(held.access_token.secret())?;
        let is_good = held.is_good_at(self.clock.now()) && refused != Some(&header);
        Ok(is_good.then_some(header))
    }
}

impl Credential {
    /// The value of `Authorization`; another one than `refused`.
    ///
    /// # Errors
    /// There is none, and who has to do something about it.
    pub(super) async fn header(&self, refused: Option<&HeaderValue>) -> Result<HeaderValue, NoCredential> {
        match self {
            Self::Key(_) if refused.is_some() => Err(NoCredential::Key),
            Self::Key(key) => Ok(key.clone()),
            Self::Token(renewed) => renewed.token(refused).await,
        }
    }

    pub(crate) fn key(text: &str) -> Result<Self, NoCredential> {
        bearer(text).map(Self::Key)
    }
}

fn bearer(text: &str) -> Result<HeaderValue, NoCredential> {
    let mut value = HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| NoCredential::Text)?;
    value.set_sensitive(true);
    Ok(value)
}
