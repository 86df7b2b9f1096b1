//! What a request consumed, read from the answer as it passes.
