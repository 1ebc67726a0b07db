//! A running registry, clients of it, and what both of them need.

pub mod cargos;
pub mod courier;
pub mod git;
pub mod http;
pub mod machine;
pub mod metrics;
pub mod package;
pub mod person;
pub mod process;
pub mod project;
pub mod ran;
pub mod registry;
pub mod relay;
pub mod secrets;
pub mod tarball;
pub mod tools;
pub mod upload;
pub mod watch;
pub mod workflow;
