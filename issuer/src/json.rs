//! JSON objects in which each name means one thing.
//!
//! Parsers differ in which of two equal names they take, so a token with a duplicate could mean one thing here and
//! another behind us (RFC 8725 section 2.4 names the confusion; RFC 7519 section 4 lets a verifier refuse it).

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, map::Entry};
use std::{cell::RefCell, fmt};

#[derive(Debug, PartialEq, Eq)]
pub enum JsonFault {
    NotJson,
    NotAnObject,
    Duplicate(String),
}

/// Parses an object in which no object, at any depth, has two members of one name.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, JsonFault> {
    let duplicate = RefCell::new(None);
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let parsed = Unique { duplicate: &duplicate }.deserialize(&mut parser);
    match parsed.and_then(|value| parser.end().map(|()| value)) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(JsonFault::NotAnObject),
        Err(_) => Err(duplicate.into_inner().map_or(JsonFault::NotJson, JsonFault::Duplicate)),
    }
}

/// Reads a type of ours out of an object. A derived reader alone would also take a list of its members' values in their
/// order, and bytes that are no UTF-8 in members that it passes over; no other reader of the same document would.
pub(crate) fn from_object<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> serde_json::Result<T> {
    let text = str::from_utf8(bytes).map_err(serde_json::Error::custom)?;
    if text.trim_ascii_start().starts_with('{') {
        serde_json::from_str(text)
    } else {
        Err(serde_json::Error::custom("it is no JSON object"))
    }
}

#[derive(Clone, Copy)]
struct Unique<'a> {
    duplicate: &'a RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate names")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(self)? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            match object.entry(name) {
                Entry::Occupied(first) => {
                    self.duplicate.replace(Some(first.key().clone()));
                    return Err(A::Error::custom("duplicate name"));
                }
                Entry::Vacant(place) => {
                    place.insert(members.next_value_seed(self)?);
                }
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duplicate_name_is_refused_at_any_depth_and_in_any_spelling() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"b":[{"a":1,"a":2}]}"#, r#"{"a":1,"\u0061":2}"#] {
            assert_eq!(parse_object(text.as_bytes()), Err(JsonFault::Duplicate("a".to_owned())), "{text}");
        }
        assert!(parse_object(br#"{"a":{"a":1},"b":[{"a":1},{"a":1}]}"#).is_ok());
    }

    #[test]
    fn an_object_without_duplicates_is_what_any_other_reader_finds() {
        let text = br#"{"a":-7,"b":7,"c":-0.5,"d":"\u0061\n","e":null,"f":[true,false,{}],"g":18446744073709551615}"#;
        let expected: Map<String, Value> = serde_json::from_slice(text).unwrap();
        assert_eq!(parse_object(text), Ok(expected));
    }

    #[test]
    fn what_is_not_exactly_one_object_is_refused() {
        for text in ["", "[]", "1", "{} {}", "{\"a\":1,}", "\u{feff}{}", "{\"a\":NaN}", "{\"a\":1e999}"] {
            assert!(parse_object(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse_object(b"{\"a\":\"\xff\"}").is_err());
        assert!(parse_object("[".repeat(100_000).as_bytes()).is_err());
    }
}
