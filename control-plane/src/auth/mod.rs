//! Who asks, proved at the door: by the operator's token at the API, by a session at the console.

mod session;
mod token;

pub(crate) use session::{CSRF_FIELD, Session, end_cookie, session_cookie};
pub(crate) use token::{TokenFault, operator_of};
