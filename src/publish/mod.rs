//! The write flow of a new version.
