//! A session of the console: a cookie in the browser, its hash in the database; and the word that each form must send
//! along, which another site cannot know (CSRF).

use crate::{
    db::{DbError, sign_in},
    domain::{
        actor::Actor,
        sign_in::{SESSION_LIFETIME, SecretText},
    },
    state::{App, PublicUrl},
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::http::{HeaderMap, header};

/// The field of every form that changes something.
pub(crate) const CSRF_FIELD: &str = "csrf";

/// What the word of the forms is derived for.
const CSRF_PURPOSE: &str = "attach console form";

/// An open session.
#[derive(Debug, Clone)]
pub(crate) struct Session(SecretText);

impl Session {
    /// `None` without a cookie, or with one whose session has ended.
    pub(crate) async fn of(headers: &HeaderMap, app: &App) -> Result<Option<Self>, DbError> {
        let Some(text) = cookie(headers, cookie_name(&app.public_url)) else { return Ok(None) };
        let session = SecretText::presented(text);
        let mut tx = app.db.operator().await?;
        let is_open = sign_in::is_session_open(tx.connection(), &session.sha256(), app.clock.now()).await?;
        Ok(is_open.then_some(Self(session)))
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor::of_session(&self.0)
    }

    pub(crate) fn secret(&self) -> &SecretText {
        &self.0
    }

    /// For the hidden field of a form.
    pub(crate) fn csrf(&self) -> String {
        self.0.derived(CSRF_PURPOSE)
    }

    pub(crate) fn is_own_csrf(&self, word: &str) -> bool {
        verify_slices_are_equal(self.csrf().as_bytes(), word.as_bytes()).is_ok()
    }
}

/// With its prefix a browser takes the cookie only over HTTPS, for this host alone (RFC 6265bis, 4.1.3).
fn cookie_name(public_url: &PublicUrl) -> &'static str {
    if public_url.is_https() { "__Host-attach_session" } else { "attach_session" }
}

/// `Lax`: with `Strict` whoever follows a link to the console from elsewhere would be signed out.
pub(crate) fn session_cookie(public_url: &PublicUrl, session: &SecretText) -> String {
    set_cookie(public_url, session.as_str(), SESSION_LIFETIME.as_secs())
}

/// Takes the cookie away.
pub(crate) fn end_cookie(public_url: &PublicUrl) -> String {
    set_cookie(public_url, "", 0)
}

fn set_cookie(public_url: &PublicUrl, value: &str, max_age: u64) -> String {
    let secure = if public_url.is_https() { "; Secure" } else { "" };
    let name = cookie_name(public_url);
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{secure}")
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    cookies.find(|(of, _)| *of == name).map(|(_, value)| value)
}
