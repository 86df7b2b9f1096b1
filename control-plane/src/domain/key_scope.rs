//! What an API key may be used for, and what somebody who makes one may hand out at most.

use attach_proto::id::ModelName;
use jiff::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyScope {
    /// To ask models.
    Inference,
    /// Lists of models and the like.
    Read,
    /// To change what an engine has, where a rule allows it to the key's holder.
    Admin,
    /// To name the end user on whose behalf it calls.
    ActAs,
}

impl KeyScope {
    /// Of a key of which nothing else is said.
    pub const USUAL: [Self; 2] = [Self::Inference, Self::Read];
}

/// What a key leads to. Each can only be narrowed on the way from whoever makes a key to the key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach<'a> {
    pub(crate) scopes: &'a [KeyScope],
    pub(crate) groups: &'a [String],
    /// Empty: all.
    pub(crate) models: &'a [ModelName],
    /// `None`: for ever.
    pub(crate) until: Option<Timestamp>,
}

/// What somebody may hand out.
#[derive(Debug, Clone)]
pub(crate) enum HandOut {
    Anything,
    /// A maker who is bounded: no more than it has itself (CVE-2026-47101 was a key that made a key with more).
    Within {
        scopes: Vec<KeyScope>,
        groups: Vec<String>,
        models: Vec<ModelName>,
        until: Option<Timestamp>,
    },
}

impl HandOut {
    pub(crate) const NOTHING: Self =
        Self::Within { scopes: Vec::new(), groups: Vec::new(), models: Vec::new(), until: None };

    /// The field in which a key would reach further than its maker.
    pub(crate) fn beyond(&self, key: Reach<'_>) -> Option<&'static str> {
        let Self::Within { scopes, groups, models, until } = self else { return None };
        let covers = |allowed: &ModelName, wanted: &ModelName| allowed.canonical() == wanted.canonical();
        let has_model = |wanted: &ModelName| models.iter().any(|allowed| covers(allowed, wanted));
        let is_longer = |until: &Timestamp| key.until.is_none_or(|end| end > *until);
        if !key.scopes.iter().all(|scope| scopes.contains(scope)) {
            Some("scopes")
        } else if !key.groups.iter().all(|group| groups.contains(group)) {
            Some("groups")
        } else if !models.is_empty() && (key.models.is_empty() || !key.models.iter().all(has_model)) {
            // All models are more than some.
            Some("models")
        } else {
            until.as_ref().is_some_and(is_longer).then_some("expires_at")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models(names: &[&str]) -> Vec<ModelName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn k3_who_is_bounded_hands_out_no_more_than_it_has() {
        let (soon, late) = (Timestamp::from_second(1).unwrap(), Timestamp::from_second(2).unwrap());
        let groups = ["staff".to_owned(), "root".to_owned()];
        let maker = HandOut::Within {
            scopes: KeyScope::USUAL.to_vec(),
            groups: groups[..1].to_vec(),
            models: models(&["tiny", "big"]),
            until: Some(soon),
        };
        let (tiny, huge) = (models(&["TINY:latest"]), models(&["tiny", "huge"]));
        let key = Reach { scopes: &KeyScope::USUAL, groups: &groups[..1], models: &tiny, until: Some(soon) };
        assert_eq!(maker.beyond(key), None);
        for (more, field) in [
            (Reach { scopes: &[KeyScope::ActAs], ..key }, "scopes"),
            (Reach { scopes: &[KeyScope::Read, KeyScope::Admin], ..key }, "scopes"),
            (Reach { groups: &groups, ..key }, "groups"),
            (Reach { models: &huge, ..key }, "models"),
            (Reach { models: &[], ..key }, "models"),
            (Reach { until: Some(late), ..key }, "expires_at"),
            (Reach { until: None, ..key }, "expires_at"),
        ] {
            assert_eq!(maker.beyond(more), Some(field), "{more:?}");
            assert_eq!(HandOut::Anything.beyond(more), None, "{more:?}");
        }
        assert_eq!(HandOut::NOTHING.beyond(key), Some("scopes"));
    }
}
