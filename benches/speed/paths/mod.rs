//! What is measured, a file a path.

pub mod busy;
pub mod clone;
pub mod commit;
pub mod download;
pub mod forge;
pub mod publish;
pub mod sparse;
pub mod start;
