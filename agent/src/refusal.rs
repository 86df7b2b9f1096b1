//! Refusals: one closed enum, one table, one body per dialect.
