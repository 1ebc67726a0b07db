//! The server's own account at the forge.

use std::path::PathBuf;

use super::ForgeFault;
use crate::domain::Secret;

/// The longest token of the server's own account, in bytes.
const TOKEN_BYTES_MAX: usize = 4096;

/// Where the token of the server's own account is.
#[derive(Debug, Clone)]
pub enum Robot {
    /// There is no such account.
    None,
    /// In a file, which is read for each use: another token needs no restart.
    File(PathBuf),
    /// Given at the start.
    Token(Secret),
}

impl Robot {
    /// The token.
    ///
    /// # Errors
    /// `Robot`, with what is wrong.
    pub async fn token(&self) -> Result<Secret, ForgeFault> {
        let text = match self {
            Self::None => return Err(fault("none is configured".to_owned())),
            Self::Token(token) => token.expose().clone(),
            Self::File(path) => tokio::fs::read_to_string(path)
                .await
                .map_err(|cause| fault(format!("`{}`: {cause}", path.display())))?,
        };
        let token = text.trim();
        let is_token = |byte: u8| byte.is_ascii_graphic();
        if token.is_empty() || token.len() > TOKEN_BYTES_MAX || !token.bytes().all(is_token) {
            return Err(fault("it is not one word of printable ASCII".to_owned()));
        }
        Ok(Secret::new(token.to_owned()))
    }
}

fn fault(reason: String) -> ForgeFault {
    ForgeFault::Robot(reason)
}
