//! Signing in, with a link that is good once, and signing out.
//!
//! Following the link changes nothing: mail programs and chats look at links too. Its page has a button, and that does.

use super::{
    error::Failure,
    form::{Anonymous, Posted},
    page::{Shell, page, page_with, see},
};
use crate::{
    auth::{end_cookie, session_cookie},
    domain::sign_in::SecretText,
    ops::{OpError, sign_in, sign_out},
    state::App,
};
use askama::Template;
use axum::{
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    shell: Shell,
    problem: Option<&'static str>,
    link: Option<String>,
}

pub(super) async fn explain() -> Response {
    page(&SignInPage { shell: Shell::signed_out("Sign in"), problem: None, link: None })
}

pub(super) async fn with_link(Path(link): Path<String>) -> Response {
    page(&SignInPage { shell: Shell::signed_out("Sign in"), problem: None, link: Some(link) })
}

pub(super) async fn submit(State(app): State<App>, Anonymous(sent): Anonymous) -> Result<Response, Failure> {
    let link = SecretText::presented(&sent.text("link"));
    let session = match sign_in(&app.db, &link, app.clock.now()).await {
        Ok(session) => session,
        Err(OpError::NotFound(_)) => {
            let problem =
                Some("This link is not good: it was used, or its ten minutes are over. Make a new one.");
            let again = SignInPage { shell: Shell::signed_out("Sign in"), problem, link: None };
            return Ok(page_with(StatusCode::FORBIDDEN, &again));
        }
        Err(error) => return Err(error.into()),
    };
    let cookie = session_cookie(&app.public_url, &session);
    Ok(([(header::SET_COOKIE, cookie)], see("/")).into_response())
}

pub(super) async fn end(State(app): State<App>, Posted { session, .. }: Posted) -> Result<Response, Failure> {
    sign_out(&app.db, session.secret(), app.clock.now()).await?;
    let cookie = end_cookie(&app.public_url);
    Ok(([(header::SET_COOKIE, cookie)], see("/sign-in")).into_response())
}
