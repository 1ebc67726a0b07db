//! A real forge beside the registry: Gitea, built from the module that `go.mod` here pins.
//!
//! Where it is not built, a test of it is skipped.

mod api;
mod beside;
mod between;
mod by_team;
mod checkout;
mod doctor;
// The product's own tests use all of it.
#[allow(dead_code)]
#[path = "../common/forge_double.rs"]
mod double;
mod gitea;
mod id_tokens;
mod inbox;
mod index;
mod itself;
mod jobs;
mod login;
mod look;
mod people;
mod race;
mod reviews;
mod runner;
mod scene;
mod setup;
mod sign_in;
mod strangers;
mod teams;
mod trouble;
mod visibility;
