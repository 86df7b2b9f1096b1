//! A person with a browser, as far as these providers' pages need one: it follows redirects, keeps cookies, and fills in
//! the forms that it is shown.

use attach_tests::{Answer, Client};
use http::Method;
use std::collections::BTreeMap;

pub(crate) const USER: &str = "alice";
/// Of the e-mail address that dex knows people by.
pub(crate) const EMAIL: &str = "alice@example.test";
pub(crate) const PASSWORD: &str = "correct horse";

/// Pages and redirects of one sign-in; the longest here has eleven.
const MAX_STEPS: usize = 30;

#[derive(Debug, Default)]
pub(crate) struct Browser {
    /// By port: a provider's cookies are for its own.
    cookies: BTreeMap<u16, BTreeMap<String, String>>,
}

/// Where it stands at the end, when there is nothing more to fill in.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) url: String,
    pub(crate) answer: Answer,
}

#[derive(Debug)]
struct Form {
    action: String,
    fields: Vec<(String, String)>,
}

impl Browser {
    /// Opens the address and does what a person would who wants to sign in, up to a page without a form. `elsewhere` plays
    /// what is no page: given an address, it says where to go instead.
    pub(crate) async fn sign_in(
        &mut self,
        address: &str,
        elsewhere: impl AsyncFn(&str) -> Option<String>,
    ) -> Page {
        let mut url = address.to_owned();
        let mut answer = self.request(Method::GET, &url, String::new()).await;
        for _ in 0..MAX_STEPS {
            if let Some(location) = answer.header("location") {
                url = absolute(&url, location);
                if let Some(instead) = elsewhere(&url).await {
                    url = instead;
                }
                answer = self.request(Method::GET, &url, String::new()).await;
                continue;
            }
            let Some(form) = form(&answer.text()).filter(|_| answer.status.is_success()) else {
                return Page { url, answer };
            };
            url = absolute(&url, &form.action);
            answer = self.request(Method::POST, &url, form.filled_in()).await;
        }
        panic!("the sign-in does not end: {url}\n{}", answer.text());
    }

    async fn request(&mut self, method: Method, url: &str, body: String) -> Answer {
        let (port, path) = parts(url);
        let cookies = self.cookies.entry(port).or_default();
        let header =
            cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let mut client = Client::new(port).with_header("accept", "text/html");
        if !header.is_empty() {
            client = client.with_header("cookie", &header);
        }
        if method == Method::POST {
            client = client.with_header("content-type", "application/x-www-form-urlencoded");
        }
        let answer = client.send(method, path, body).await.whole().await;
        // Sent back whatever they say: over plain HTTP a browser would treat loopback as safe.
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().expect("ASCII").split(';').next().unwrap_or_default();
            let (name, value) = cookie.split_once('=').expect("a cookie");
            if value.is_empty() {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }
}

impl Form {
    fn filled_in(&self) -> String {
        let mut pairs = self.fields.clone();
        for (name, value) in &mut pairs {
            match name.as_str() {
                // dex wants an e-mail address.
                "login" if self.action.contains("/dex/") => EMAIL.clone_into(value),
                "username" | "login" => USER.clone_into(value),
                "password" => PASSWORD.clone_into(value),
                _ => {}
            }
        }
        encoded(&pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>())
    }
}

/// `application/x-www-form-urlencoded`.
pub(crate) fn encoded(pairs: &[(&str, &str)]) -> String {
    let escape = |text: &str| {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    char::from(byte).to_string()
                }
                other => format!("%{other:02X}"),
            })
            .collect::<String>()
    };
    pairs
        .iter()
        .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// Port and path: everything here is on 127.0.0.1.
pub(crate) fn parts(url: &str) -> (u16, &str) {
    let rest = url.strip_prefix("http://127.0.0.1:").or_else(|| url.strip_prefix("http://localhost:"));
    let rest = rest.unwrap_or_else(|| panic!("{url} leaves the machine"));
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let path = rest[end..].split('#').next().unwrap_or_default();
    (rest[..end].parse().expect("a port"), if path.is_empty() { "/" } else { path })
}

fn absolute(from: &str, to: &str) -> String {
    if to.starts_with("http") {
        return to.to_owned();
    }
    let (port, path) = parts(from);
    match to {
        "" => from.to_owned(),
        _ if to.starts_with('/') => format!("http://127.0.0.1:{port}{to}"),
        _ => {
            let folder = path
                .split('?')
                .next()
                .and_then(|path| path.rsplit_once('/'))
                .map_or("", |(folder, _)| folder);
            format!("http://127.0.0.1:{port}{folder}/{to}")
        }
    }
}

/// The first form that is sent by POST, with what it would send when the person agrees.
fn form(html: &str) -> Option<Form> {
    let mut rest = html;
    while let Some(at) = rest.find("<form") {
        rest = &rest[at..];
        let tag = &rest[..rest.find('>')?];
        let end = rest.find("</form").unwrap_or(rest.len());
        if attribute(tag, "method").is_some_and(|method| method.eq_ignore_ascii_case("post")) {
            let fields = fields(&rest[..end]);
            return Some(Form { action: attribute(tag, "action").unwrap_or_default(), fields });
        }
        rest = &rest[end..];
    }
    None
}

fn fields(form: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut rest = form;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let tag = &rest[..rest.find('>').unwrap_or(rest.len())];
        let is_button = tag.starts_with("button");
        if !is_button && !tag.starts_with("input") {
            continue;
        }
        let Some(name) = attribute(tag, "name") else { continue };
        let kind = attribute(tag, "type").unwrap_or_default();
        let is_answer = is_button || kind == "submit";
        // Of several buttons the one that agrees.
        let is_yes = matches!(name.as_str(), "accept" | "login" | "approval")
            || attribute(tag, "value").as_deref() == Some("approve");
        if kind != "checkbox" && (!is_answer || is_yes) {
            fields.push((name, attribute(tag, "value").unwrap_or_default()));
        }
    }
    fields
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let at = tag.find(&format!(" {name}=")).or_else(|| tag.find(&format!("\n{name}=")))?;
    let rest = &tag[at + name.len() + 2..];
    let quote = rest.chars().next()?;
    let value = match quote {
        '"' | '\'' => rest[1..].split(quote).next()?,
        _ => rest.split(char::is_whitespace).next()?,
    };
    Some(value.replace("&amp;", "&").replace("&#x2F;", "/").replace("&#43;", "+").replace("&#34;", "\""))
}
