//! The files of the index that are not about one crate.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::{OwnUrls, Policy, PublicUrl, RegistryId, RegistryName, StoreId};

use super::object::Body;

/// Cargo's own configuration of the index, the same bytes in both protocols.
pub(super) const CONFIG_JSON: &str = "config.json";
/// Who this registry is.
pub(super) const REGISTRY_TOML: &str = "registry.toml";
/// The rules that people set.
pub(super) const POLICY_TOML: &str = "policy.toml";
/// The keys whose signatures count.
pub(super) const ALLOWED_SIGNERS: &str = "allowed_signers";
/// Files that must be there but that reads do not need.
pub(super) const OTHER_FILES: [&str; 3] = ["README.md", ".gitattributes", "revoked.toml"];

/// The file `registry.toml`: who this registry is and where it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Issuer and audience of its tokens.
    pub id: RegistryId,
    /// The first segment of its paths.
    pub name: RegistryName,
    /// Where people reach it.
    pub public_url: PublicUrl,
    /// Where they reached it before: dependencies on these URLs are its own.
    #[serde(default)]
    pub former_urls: Vec<PublicUrl>,
    /// The blob store that belongs to it.
    pub blob_store: StoreId,
}

/// What the snapshot keeps of these files.
#[derive(Debug, Clone)]
pub struct RegistryFiles {
    /// The file `registry.toml`.
    pub identity: Identity,
    /// The bytes of `config.json`.
    pub config_json: Body,
    /// The file `policy.toml`.
    pub policy: Policy,
    /// The bytes of `allowed_signers`.
    pub allowed_signers: Bytes,
}

impl Identity {
    /// The bytes of `registry.toml`.
    pub(super) fn to_toml(&self) -> String {
        let body = toml::to_string(self).expect("the identity has only text keys and values");
        format!("# Who this registry is. Written by the registry itself.\n{body}")
    }

    /// The bytes of `config.json`.
    pub(super) fn config_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Config {
            dl: String,
            api: String,
        }
        let root = self.public_url.registry_root(&self.name);
        let config = Config {
            dl: format!("{root}/dl"),
            api: root,
        };
        let mut bytes = serde_json::to_vec(&config).expect("two texts can be written as JSON");
        bytes.push(b'\n');
        bytes
    }

    /// The identity at a new address; the old one stays known.
    pub(super) fn moved_to(&self, public_url: &PublicUrl) -> Self {
        let mut moved = self.clone();
        moved.former_urls.retain(|former| former != public_url);
        moved.former_urls.push(self.public_url.clone());
        moved.public_url = public_url.clone();
        moved
    }

    /// Every URL of this registry, today's and former ones.
    pub fn own_urls(&self) -> OwnUrls {
        OwnUrls::new(
            &self.name,
            std::iter::once(&self.public_url).chain(&self.former_urls),
        )
    }
}
