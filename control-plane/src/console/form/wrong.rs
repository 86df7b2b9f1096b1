//! What is wrong with a form.

use super::super::error::Failure;
use crate::{db::DbError, ops::OpError};
use attach_proto::Invalid;

#[derive(Debug, Clone)]
pub(in crate::console) struct Wrong {
    /// Empty for the form as a whole.
    pub(in crate::console) field: String,
    pub(in crate::console) problem: String,
}

impl Wrong {
    pub(in crate::console) fn new(field: &str, problem: impl Into<String>) -> Self {
        Self { field: field.to_owned(), problem: problem.into() }
    }

    pub(in crate::console) fn not_one_of_these(field: &str) -> Self {
        Self::new(field, "is not one of these")
    }

    pub(super) fn not_a_number(field: &str) -> Self {
        Self::new(field, "must be a whole number")
    }

    /// What an operation or the contract says, or the failure that no field explains.
    pub(in crate::console) fn of(error: OpError) -> Result<Self, Failure> {
        match error {
            OpError::Invalid { field, problem } => Ok(Self::new(field, problem)),
            OpError::Contract(invalid) => Ok(invalid.into()),
            OpError::Exists(what) => Ok(Self::new("id", format!("is taken: there is such a {what} already"))),
            OpError::NotFound(what) => Ok(Self::new("", format!("There is no such {what} any more."))),
            OpError::Db(DbError::Full(full)) => Ok(Self::new("", format!("{full}."))),
            error @ (OpError::Db(_) | OpError::NoRandomness(_) | OpError::Seal(_)) => Err(error.into()),
        }
    }
}

impl From<Invalid> for Wrong {
    fn from(invalid: Invalid) -> Self {
        // Lists are one field here: `scope.models[0]` is `models`.
        let path = invalid.path.split('[').next().unwrap_or_default();
        Self::new(path.rsplit('.').next().unwrap_or_default(), invalid.problem)
    }
}
