//! The only module that knows HTTP.

mod body;
mod connection;
mod context;
mod envelope;
mod exchange;
mod serve;
mod stall;

pub use body::{BodyFault, BodyLimits, BoundedBody};
pub use context::{PeerAddr, RequestId, Response};
pub use envelope::envelope;
pub use serve::{ServeLimits, serve};

#[cfg(test)]
mod serve_tests;
