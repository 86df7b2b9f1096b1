//! JSON as it is written, duplicates and all.

use super::super::json::{JsonFault, parse_object};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Not `Value`, which reads an object with a member of serde's own as what that member has in it.
#[derive(Debug)]
pub(super) enum Written {
    Object(Vec<(String, Written)>),
    Array(Vec<Written>),
    Scalar(Value),
}

/// What [`parse_object`] makes of it, which must be what is written: an object, in which nothing stands twice at any depth.
pub(super) fn object(json: &[u8]) -> Option<Map<String, Value>> {
    let read = parse_object(json);
    let Ok(written) = serde_json::from_slice::<Written>(json) else {
        assert!(read.is_err(), "no JSON at all was read as {read:?}");
        return None;
    };
    match &read {
        Ok(members) => {
            assert!(!written.has_duplicates(), "{members:?}");
            assert_eq!(Value::Object(members.clone()), written.value());
        }
        Err(JsonFault::Duplicate(name)) => assert!(written.has_duplicates(), "of {name} there is one"),
        Err(JsonFault::NotAnObject) => {
            assert!(!matches!(written, Written::Object(_)) && !written.has_duplicates());
        }
        Err(JsonFault::NotJson) => panic!("this is JSON: {written:?}"),
    }
    read.ok()
}

impl Written {
    /// The values of all members of this name, of this object itself.
    pub(super) fn all(&self, wanted: &str) -> Vec<&Self> {
        let Self::Object(members) = self else { return Vec::new() };
        members.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value).collect()
    }

    pub(super) fn text(&self) -> Option<&str> {
        let Self::Scalar(value) = self else { return None };
        value.as_str()
    }

    fn has_duplicates(&self) -> bool {
        match self {
            Self::Object(members) => {
                let mut names: Vec<_> = members.iter().map(|(name, _)| name).collect();
                names.sort_unstable();
                names.windows(2).any(|pair| pair.first() == pair.last())
                    || members.iter().any(|(_, value)| value.has_duplicates())
            }
            Self::Array(elements) => elements.iter().any(Self::has_duplicates),
            Self::Scalar(_) => false,
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Object(members) => members
                .iter()
                .map(|(name, value)| (name.clone(), value.value()))
                .collect::<Map<_, _>>()
                .into(),
            Self::Array(elements) => elements.iter().map(Self::value).collect::<Vec<_>>().into(),
            Self::Scalar(value) => value.clone(),
        }
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Written, E> {
        Ok(Written::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Written, E> {
        Ok(Written::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Written, E> {
        Ok(Written::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Written, E> {
        Ok(Written::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Written, E> {
        Ok(Written::Scalar(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Written, E> {
        Ok(Written::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Written, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Written::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Written, A::Error> {
        let mut list = Vec::new();
        while let Some(member) = members.next_entry()? {
            list.push(member);
        }
        Ok(Written::Object(list))
    }
}
