//! The `sidecargo` program.

mod cli;

use std::process::ExitCode;

use clap::Parser;

/// Gives memory back to the system once nobody uses it, also what threads that have ended had.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sidecargo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
