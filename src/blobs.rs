//! Where `.crate` files lie.
