//! The index repository.
