//! The `sidecargo` program.

fn main() {}
