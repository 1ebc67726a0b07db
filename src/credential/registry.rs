//! The registry: where its forge is, and the exchange of an id_token for one of its tokens.

use serde::Deserialize;
use serde_json::{Value, json};

use super::fault::Fault;
use super::protocol::{Asking, Operation};
use super::requests::{ask, client};

/// A registry, as Cargo's settings name its index.
pub struct Registry {
    root: String,
    name: String,
}

/// Where people sign in.
#[derive(Deserialize)]
pub struct SignIn {
    pub forge: String,
    pub client_id: String,
}

#[derive(Deserialize)]
struct Made {
    token: String,
}

impl Registry {
    /// The registry with this index: `sparse+ROOT/index/`, or `ROOT/git`.
    pub fn of_index(asking: &Asking) -> Result<Self, Fault> {
        let url = asking.index_url.as_str();
        let root = match url.strip_prefix("sparse+") {
            Some(sparse) => sparse.trim_end_matches('/').strip_suffix("/index"),
            None => url.trim_end_matches('/').strip_suffix("/git"),
        };
        let is_web = |root: &&str| root.starts_with("https://") || root.starts_with("http://");
        let root = root.filter(is_web).ok_or(Fault::OtherUrl)?;
        Ok(Self {
            root: root.to_owned(),
            name: asking.name.clone().unwrap_or_else(|| "NAME".to_owned()),
        })
    }

    /// Its base URL, without a slash at the end.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// As it is called in the settings of Cargo.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its people sign in. Everybody may ask.
    pub async fn sign_in(&self) -> Result<SignIn, Fault> {
        let request = client()?.get(format!("{}/login", self.root));
        let reply = ask(&self.root, request).await?;
        match reply.status {
            404 => Err(Fault::NoSignIn {
                said: reply.said(),
                name: self.name.clone(),
            }),
            _ => reply.json(&self.root),
        }
    }

    /// A token of the registry for whom the id_token is, for what is wanted alone.
    pub async fn exchange(&self, id_token: &str, wanted: &Value) -> Result<String, Fault> {
        let mut asked = wanted.clone();
        asked["jwt"] = id_token.into();
        let address = format!("{}/api/v1/trusted_publishing/tokens", self.root);
        let request = client()?
            .post(address)
            .header("content-type", "application/json")
            .body(asked.to_string());
        let made: Made = ask(&self.root, request).await?.json(&self.root)?;
        Ok(made.token)
    }
}

/// What a token must allow for an operation, and no more.
pub fn wanted(operation: &Operation) -> Result<Value, Fault> {
    Ok(match operation {
        Operation::Read => json!({"can": ["read"]}),
        Operation::Publish { name, vers, cksum } => {
            json!({"can": ["publish"], "crates": [name], "vers": vers, "cksum": cksum})
        }
        Operation::Yank { name, vers } | Operation::Unyank { name, vers } => {
            json!({"can": ["yank"], "crates": [name], "vers": vers})
        }
        // To show owners is to read.
        Operation::Owners { name } => json!({"can": ["read", "own"], "crates": [name]}),
        Operation::Unknown => return Err(Fault::NotSupported),
    })
}
