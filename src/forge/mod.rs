//! A client of the forge (Forgejo or Gitea): who somebody is there, and what they may do.
//!
//! [`Forge`] asks, [`IssuerKeys`] knows the keys with which the forge signs. Nothing is decided here: what follows from
//! an answer is the business of `auth`.
//!
//! What must stay true: a token goes to the configured forge alone, in a header that nothing prints; a question is
//! bounded in time, its answer in size, and the questions at one moment in number.

mod answers;
mod calls;
mod client;
mod fault;
mod index_repository;
mod keys;
mod kind;
mod measures;
mod pages;
mod people;
mod permission;
mod renamed;
mod robot;
mod values;

pub use answers::{Account, PullRequest, Repository, Rights, Run, Said, Side, TokenInfo};
pub use calls::Status;
pub use client::{Forge, ForgeLimits, Showing};
pub use fault::ForgeFault;
pub use index_repository::IndexRepository;
pub use keys::{IssuerFault, IssuerKeys, KeyPatience, VerifyingKey};
pub use kind::Kind;
pub use measures::Measures;
pub use people::TEAMS_ASKED_MAX;
pub use permission::{Permission, Team};
pub use robot::Robot;

#[cfg(test)]
#[path = "../../tests/common/forge_double.rs"]
pub(crate) mod double;
#[cfg(test)]
mod tests;
