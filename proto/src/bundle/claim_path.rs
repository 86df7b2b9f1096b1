//! Where a claim stands in a token.

use std::fmt;

/// RFC 6901, starting with a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPointer(String);

/// A claim's place: a [`JsonPointer`], or `*/name` for the one claim at the top whose name is a URL that ends in
/// `/name`. That is how Auth0's Actions name what they add (`https://acme.com/roles`), each customer in a namespace of its
/// own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath {
    text: String,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// The names from the top, unescaped.
    Pointer(Vec<String>),
    Namespaced(String),
}

impl JsonPointer {
    /// `None` when the text does not start with a slash or has a `~` that escapes nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let escapes_are_whole = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        (text.starts_with('/') && escapes_are_whole).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names from the top (RFC 6901 section 4: `~1` is read before `~0`).
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.0.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~"))
    }
}

impl ClaimPath {
    /// `None` when it is neither of the two.
    pub fn parse(text: &str) -> Option<Self> {
        let place = match text.strip_prefix("*/") {
            Some(name) if name.is_empty() || name.contains(['/', '*', '~']) => return None,
            Some(name) => Place::Namespaced(format!("/{name}")),
            None => Place::Pointer(JsonPointer::parse(text)?.names().collect()),
        };
        Some(Self { text: text.to_owned(), place })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The value there. Of two namespaces with the same name none counts: which of them is meant can't be told.
    pub fn look_up<'a>(
        &self,
        claims: &'a serde_json::Map<String, serde_json::Value>,
    ) -> Option<&'a serde_json::Value> {
        use serde_json::Value;
        match &self.place {
            Place::Pointer(names) => {
                let (first, rest) = names.split_first()?;
                rest.iter().try_fold(claims.get(first)?, |value, name| match value {
                    Value::Object(members) => members.get(name),
                    Value::Array(elements) => elements.get(name.parse::<usize>().ok()?),
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
                })
            }
            Place::Namespaced(end) => {
                let is_meant = |name: &str| {
                    (name.starts_with("https://") || name.starts_with("http://"))
                        && name.ends_with(end.as_str())
                };
                let mut meant = claims.iter().filter(|(name, _)| is_meant(name));
                match (meant.next(), meant.next()) {
                    (Some((_, value)), None) => Some(value),
                    (Some(_), Some(_)) | (None, _) => None,
                }
            }
        }
    }

    /// What the value is called where it stands alone.
    pub fn last_name(&self) -> &str {
        match &self.place {
            Place::Pointer(names) => names.last().map_or("", String::as_str),
            Place::Namespaced(end) => end.strip_prefix('/').unwrap_or(end),
        }
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn at(path: &str, claims: &Value) -> Option<Value> {
        ClaimPath::parse(path).unwrap().look_up(claims.as_object().unwrap()).cloned()
    }

    #[test]
    fn a_claim_is_found_by_its_pointer_whatever_characters_its_name_has() {
        let claims = json!({"sub": "a", "realm_access": {"roles": ["x", "y"]}, "https://acme.com/roles": ["z"], "m~n": 1});
        assert_eq!(at("/sub", &claims), Some(json!("a")));
        assert_eq!(at("/realm_access/roles/1", &claims), Some(json!("y")));
        assert_eq!(at("/https:~1~1acme.com~1roles", &claims), Some(json!(["z"])));
        assert_eq!(at("/m~0n", &claims), Some(json!(1)));
        for nothing in ["/none", "/sub/a", "/realm_access/roles/2", "/realm_access/roles/-1"] {
            assert_eq!(at(nothing, &claims), None, "{nothing}");
        }
    }

    #[test]
    fn a_namespaced_claim_is_found_in_whatever_namespace_it_has_and_only_when_there_is_one() {
        assert_eq!(at("*/roles", &json!({"https://acme.com/roles": 1, "roles": 2})), Some(json!(1)));
        assert_eq!(at("*/roles", &json!({"roles": 2})), None);
        assert_eq!(at("*/roles", &json!({"https://acme.com/myroles": 2})), None);
        assert_eq!(at("*/roles", &json!({"acme.com/roles": 2})), None);
        assert_eq!(at("*/roles", &json!({"https://a/roles": 1, "https://b/roles": 2})), None);
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for bad in ["", "sub", "*", "*/", "*/a/b", "**/a", "/a~", "/a~2"] {
            assert!(ClaimPath::parse(bad).is_none(), "{bad}");
        }
    }
}
