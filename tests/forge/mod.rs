//! A real forge beside the registry: Gitea, built from the module that `go.mod` here pins.
//!
//! Where it is not built, a test of it is skipped.

mod api;
mod between;
mod checkout;
mod doctor;
mod gitea;
mod inbox;
mod index;
mod itself;
mod look;
mod race;
mod runner;
mod scene;
mod setup;
mod sign_in;
mod trouble;
