//! Sidecargo: a private Cargo registry whose database is a git repository.

pub mod auth;
pub mod blobs;
pub mod config;
pub mod disk;
pub mod domain;
pub mod fetch;
pub mod http;
pub mod index;
pub mod publish;
pub mod telemetry;
