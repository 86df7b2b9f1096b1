//! Random histories against a model.
use super::*;
