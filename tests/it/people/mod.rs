//! What people type: `attach-gateway token` and `attach-gateway connect`.

mod connect;
mod pages;
mod sign_in;
mod token;
