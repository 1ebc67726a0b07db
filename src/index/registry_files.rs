//! The files of the index that are not about one crate.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::{
    Capability, OwnUrls, Policy, PublicUrl, RegistryId, RegistryName, StoreId, Visibility,
};

use super::object::{Body, Collision};
use super::revoked::Revoked;
use super::signature::Signer;

/// Cargo's own configuration of the index.
pub(super) const CONFIG_JSON: &str = "config.json";
/// Who this registry is.
pub(super) const REGISTRY_TOML: &str = "registry.toml";
/// The rules that people set.
pub(super) const POLICY_TOML: &str = "policy.toml";
/// The keys whose signatures count.
pub(super) const ALLOWED_SIGNERS: &str = "allowed_signers";
/// The tokens that are no longer good.
pub(super) const REVOKED_TOML: &str = "revoked.toml";
/// Files that must be there but that reads do not need.
pub(super) const OTHER_FILES: [&str; 2] = ["README.md", ".gitattributes"];

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
    /// Who may read.
    #[serde(default)]
    pub visibility: Visibility,
    /// The secret segment of download URLs, while a private registry has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<Capability>,
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
    /// The file `revoked.toml`.
    pub revoked: Arc<Revoked>,
}

impl RegistryFiles {
    /// The bytes of `config.json` as whoever may read at this moment has to see them.
    ///
    /// Cargo sends no token with a line or a download that it was not told to send one with.
    pub(super) fn config_json(&self, visibility: Visibility) -> Cow<'_, Body> {
        if visibility == self.identity.visibility {
            return Cow::Borrowed(&self.config_json);
        }
        let identity = Identity {
            visibility,
            ..self.identity.clone()
        };
        match Body::new(&identity.config_json()) {
            Ok(body) => Cow::Owned(body),
            Err(Collision) => Cow::Borrowed(&self.config_json),
        }
    }

    /// Whether signatures of this key count.
    pub(super) fn trusts(&self, signer: &Signer) -> bool {
        signer.is_among(&self.allowed_signers)
    }
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
            #[serde(rename = "auth-required", skip_serializing_if = "Option::is_none")]
            auth_required: Option<bool>,
        }
        let root = self.public_url.registry_root(&self.name);
        // Both, the key and the secret: Cargo since 1.74 sends its token because of the one, older Cargo needs the other.
        let dl = match self.download_capability() {
            Some(capability) => format!(
                "{root}/dl/{}/{{crate}}/{{version}}/{{sha256-checksum}}",
                capability.expose()
            ),
            None => format!("{root}/dl"),
        };
        let config = Config {
            dl,
            api: root,
            auth_required: (self.visibility == Visibility::Private).then_some(true),
        };
        let mut bytes =
            serde_json::to_vec(&config).expect("texts and a truth can be written as JSON");
        bytes.push(b'\n');
        bytes
    }

    /// The secret by which a download needs no token.
    pub fn download_capability(&self) -> Option<&Capability> {
        match self.visibility {
            Visibility::Public => None,
            Visibility::Private => self.capability.as_ref(),
        }
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
