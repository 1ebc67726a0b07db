//! Sidecargo: a private Cargo registry whose database is a git repository.

pub mod domain;
