//! Reading by the git protocol.
