//! What the caller wants: the route's meaning, and the few fields of the body that policy needs.

mod body;
mod estimate;
mod read;
mod rewrite;
mod route;

pub(crate) use body::{BodyBudget, BodyFault, collect, memory};
pub(crate) use read::{Ask, AskFault, read, read_without_body};
pub(crate) use route::{Classified, Dialect, Operation, RouteFault, classify, dialect_of};
