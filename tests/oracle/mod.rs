//! What we write, read by programs that we did not write.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of a test may do what a test may do"
)]

mod lines;
