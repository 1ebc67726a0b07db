//! The server's own account on the forge.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderValue;

use crate::config::{ForgeConfig, TOKEN_VARIABLE};
use crate::index::Authorization;

/// The longest token, in bytes.
const TOKEN_BYTES_MAX: u64 = 4096;

/// How the server says on the forge who it is: by a token in a file or in the environment, read for each request.
///
/// The header is one that is never shown. It is `Basic`, as git sends it: with another form Gitea does not look at what
/// a token may do.
pub fn authorization(config: &ForgeConfig) -> Authorization {
    let file = config.token_file.clone();
    Arc::new(move || {
        let token = match &file {
            Some(path) => read(path)?,
            None => env::var(TOKEN_VARIABLE).map_err(|_| missing())?,
        };
        header(token.trim())
    })
}

fn read(path: &Path) -> io::Result<String> {
    let named = |cause: io::Error| {
        let what = format!("`{}` (`forge.token_file`): {cause}", path.display());
        io::Error::new(cause.kind(), what)
    };
    let mut text = String::new();
    let file = File::open(path).map_err(named)?;
    file.take(TOKEN_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(named)?;
    Ok(text)
}

fn header(token: &str) -> io::Result<HeaderValue> {
    if token.is_empty() {
        return Err(missing());
    }
    let pair = BASE64_STANDARD.encode(format!("sidecargo:{token}"));
    let value = HeaderValue::from_str(&format!("Basic {pair}"));
    let mut value = value.map_err(io::Error::other)?;
    value.set_sensitive(true);
    Ok(value)
}

fn missing() -> io::Error {
    let what = format!("there is none: name a file in `forge.token_file`, or set {TOKEN_VARIABLE}");
    io::Error::new(io::ErrorKind::NotFound, what)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_token_is_read_for_each_request_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let config = ForgeConfig {
            url: "https://git.example.com".parse().unwrap(),
            repository: "acme/crates".parse().unwrap(),
            token_file: Some(path.clone()),
            webhook_secret_file: None,
            poll_secs: 30,
        };
        let authorization = authorization(&config);
        let fault = authorization().unwrap_err().to_string();
        assert!(fault.contains("`forge.token_file`"), "{fault}");
        fs::write(&path, "\n").unwrap();
        assert!(
            authorization()
                .unwrap_err()
                .to_string()
                .contains("there is none")
        );
        for token in ["one", "another"] {
            fs::write(&path, format!("{token}\n")).unwrap();
            let value = authorization().unwrap();
            let pair = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
            let pair = BASE64_STANDARD.decode(pair).unwrap();
            assert_eq!(pair, format!("sidecargo:{token}").as_bytes());
            assert_eq!(format!("{value:?}"), "Sensitive");
        }
    }
}
