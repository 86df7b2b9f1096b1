//! Whether a request fits its limits, decided and reserved in one step.
