//! The only module that knows HTTP.
//!
//! [`serve`] is the accept loop, [`routes`] the table; a handler takes apart a request, calls one function of the
//! product and turns its result into an answer. `error.rs` gives every fault its status.

mod access;
mod answered;
mod api;
mod bare;
mod body;
mod browse;
mod connection;
mod context;
mod download;
mod envelope;
mod error;
mod exchange;
mod git;
mod html;
mod login;
mod pages;
mod proxies;
mod range;
mod request;
mod routes;
mod serve;
mod snippets;
mod sparse;
mod stall;
mod webhook;

#[cfg(test)]
mod exchange_tests;
#[cfg(test)]
mod forge_tests;
#[cfg(test)]
mod serve_tests;
#[cfg(test)]
mod strangers_tests;

pub use proxies::Proxies;
pub use routes::{Routes, routes};
pub use serve::{ServeLimits, serve};
pub use snippets::Snippets;
