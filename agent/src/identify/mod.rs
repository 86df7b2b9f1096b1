//! Who calls: from the request's headers to a [`Principal`], by evidence alone.

mod principal;

pub(crate) use principal::Principal;
