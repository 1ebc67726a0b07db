//! A real forge beside the registry: Gitea, built from the module that `go.mod` here pins.
//!
//! Where it is not built, a test of it is skipped.

mod api;
mod checkout;
mod gitea;
mod inbox;
mod index;
mod itself;
mod login;
mod runner;
mod scene;
mod setup;
mod sign_in;
