//! A Redis that stops, hangs or forgets: what callers wait, and how soon it is used again.
use super::*;
