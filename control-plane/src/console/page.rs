//! What all pages have: the frame, the headers, and how numbers and times are written.

use super::assets::{ICON, STYLE};
use crate::auth::Session;
use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse as _, Response},
};
use jiff::Timestamp;

/// Pages have no scripts, frames or foreign parts at all.
const CSP: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; \
                   frame-ancestors 'none'; base-uri 'none'";

/// The parts of the console, as its navigation has them.
const SECTIONS: [(&str, &str); 5] = [
    ("Overview", "/"),
    ("Tenants", "/tenants"),
    ("Pools", "/pools"),
    ("Agents", "/agents"),
    ("Audit", "/audit"),
];

/// What stands around a page's content.
pub(super) struct Shell {
    pub(super) title: String,
    pub(super) section: &'static str,
    /// For the form to sign out with; `None` for who is not signed in.
    pub(super) csrf: Option<String>,
}

impl Shell {
    pub(super) fn new(session: &Session, section: &'static str, title: impl Into<String>) -> Self {
        Self { title: title.into(), section, csrf: Some(session.csrf()) }
    }

    pub(super) fn signed_out(title: &str) -> Self {
        Self { title: title.to_owned(), section: "", csrf: None }
    }

    pub(super) fn style(&self) -> String {
        STYLE.path()
    }

    pub(super) fn icon(&self) -> String {
        ICON.path()
    }

    pub(super) fn sections(&self) -> &'static [(&'static str, &'static str)] {
        &SECTIONS
    }
}

pub(super) fn page(template: &impl Template) -> Response {
    page_with(StatusCode::OK, template)
}

pub(super) fn page_with(status: StatusCode, template: &impl Template) -> Response {
    let mut response = match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!("a page can't be written: {error}");
            (StatusCode::INTERNAL_SERVER_ERROR, "This page can't be written.\n").into_response()
        }
    };
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP));
    response
}

/// After a form: the browser gets the page anew, so that "reload" sends nothing twice.
pub(super) fn see(path: &str) -> Response {
    axum::response::Redirect::to(path).into_response()
}

/// With commas: 1,234,567.
pub(super) fn number(of: i64) -> String {
    let digits = of.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if of < 0 { format!("−{text}") } else { text }
}

pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}

/// In the largest unit that divides it.
pub(super) fn duration(seconds: u64) -> String {
    let (amount, unit) = match seconds {
        0 => (0, "second"),
        of if of.is_multiple_of(86_400) => (of / 86_400, "day"),
        of if of.is_multiple_of(3_600) => (of / 3_600, "hour"),
        of if of.is_multiple_of(60) => (of / 60, "minute"),
        of => (of, "second"),
    };
    let plural = if amount == 1 { "" } else { "s" };
    format!("{amount} {unit}{plural}")
}

/// The address of the next part of a list.
pub(super) fn next_path(path: &str, after: Option<&str>) -> Option<String> {
    let after: String = url::form_urlencoded::byte_serialize(after?.as_bytes()).collect();
    Some(format!("{path}?after={after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_durations_read_well() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(number(-1_000), "−1,000");
        assert_eq!(duration(60), "1 minute");
        assert_eq!(duration(7_200), "2 hours");
        assert_eq!(duration(90), "90 seconds");
    }
}
