//! Durable changes to files.
