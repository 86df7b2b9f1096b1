//! Usage events: made durable before the end of an answer leaves, and read back for `attach-gateway usage`.
