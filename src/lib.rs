//! Sidecargo: a private Cargo registry whose database is a git repository.
//!
//! ARCHITECTURE.md has the map and walks through a publish and a read.

pub mod app;
pub mod audit;
pub mod auth;
pub mod backup;
pub mod blobs;
pub mod catalog;
pub mod config;
pub mod control;
pub mod credential;
pub mod disk;
pub mod doctor;
pub mod domain;
pub mod exchange;
pub mod fetch;
pub mod forge;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod git;
pub mod http;
pub mod index;
pub mod measure;
pub mod metrics;
pub mod operator;
pub mod orphans;
pub mod owners;
pub mod pause;
pub mod places;
pub mod probe;
pub mod publish;
pub mod rates;
pub mod review;
pub mod setup;
pub mod telemetry;
pub mod tokens;
pub mod visibility;
pub mod webhook;
pub mod yank;
