//! What the caller wants: the route's meaning, and the few fields of the body that policy needs.

mod body;
mod change;
mod estimate;
mod read;
mod registry;
mod request;
mod rewrite;
mod route;
mod upload;

pub(crate) use attach_proto::route::{Dialect, Metering, Operation};
pub(crate) use body::{BODY_IDLE, BodyBudget, BodyFault, collect, memory};
pub(crate) use change::read_change;
pub(crate) use read::{AskFault, read, read_as_it_is, read_upload, read_without_body};
pub(crate) use request::{Ask, Content};
pub(crate) use route::{BodyUse, Classified, RouteFault, classify, dialect_of};
pub(crate) use upload::Upload;
