//! The data plane of Attach Gateway: one process in front of the engines of a GPU host.
//!
//! A request goes through the stages of [`pipeline`] in this order, each taking the evidence of the one before by
//! value, so that none can be left out:
//!
//! classify → identify → read the ask → authorize → admit → route → forward → meter → settle
//!
//! Dependencies between the modules run one way; `tests/it/layering.rs` holds the list.

mod admit;
mod ask;
mod clock;
mod identify;
mod json_edit;
mod meter;
mod refusal;
mod snapshot;
mod usage;
