//! Real programs against the running registry: cargo new and old, git, strace.

mod bytes;
mod durability;
mod everyday;
mod git_view;
mod kill;
mod main_job;
mod manifests;
mod old_cargo;
mod pasted;
mod private;
mod races;
mod search;
mod sentences;
