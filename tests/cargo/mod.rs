//! Real programs against the running registry: cargo new and old, git, strace.

mod bytes;
mod commands;
mod dependencies;
mod durability;
mod everyday;
mod faults;
mod foreign;
mod git_view;
mod kill;
mod links;
mod locks;
mod main_job;
mod manifests;
mod nightly;
mod old_cargo;
mod pasted;
mod private;
mod races;
mod resolver;
mod search;
mod sentences;
mod settings;
mod together;
mod workspace;
mod yanked;
