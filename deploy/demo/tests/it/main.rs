//! The demo engine and the demo issuer over real sockets.

mod anthropic;
mod issuer;
mod life;
mod ollama;
mod openai;
mod wire;
