//! Every test that needs more than one module.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the helpers of a test may do what a test may do"
)]

mod api;
mod architecture;
mod attack;
mod cargo;
mod checks;
mod common;
mod documents;
mod forge;
mod load;
mod operate;
mod oracle;
mod power;
