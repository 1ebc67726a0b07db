//! What people paste: settings for Cargo and commands for the shell, true as they stand.

use crate::domain::{PublicUrl, RegistryName, Visibility};

/// The snippets of one registry.
#[derive(Debug, Clone, Copy)]
pub struct Snippets<'a> {
    /// The registry's name.
    pub name: &'a RegistryName,
    /// Where people reach it.
    pub public_url: &'a PublicUrl,
    /// Who may read: if not everybody, Cargo needs more settings.
    pub visibility: Visibility,
}

impl Snippets<'_> {
    /// `.cargo/config.toml` where only Cargo since 1.68 is in use, and since 1.74 if the registry is private.
    pub fn sparse(&self) -> String {
        let name = self.name;
        let index = self.public_url.sparse_index(name);
        self.with_provider(format!("[registries.{name}]\nindex = \"{index}\"\n"))
    }

    /// `.cargo/config.toml` of those who sign in at the forge.
    pub fn provided(&self) -> String {
        let name = self.name;
        let index = self.public_url.sparse_index(name);
        format!(
            "[registries.{name}]\nindex = \"{index}\"\n\
             credential-provider = [\"cargo-credential-sidecargo\"]\n"
        )
    }

    /// `.cargo/config.toml` where older Cargo is in use too.
    pub fn git(&self) -> String {
        self.with_provider(self.git_registry())
    }

    /// `.cargo/config.toml` of modern Cargo beside older one: it reads the sparse index and writes the URL of the git
    /// index to lock files.
    pub fn replaced(&self) -> String {
        let name = self.name;
        let (git, sparse) = (
            self.public_url.git_index(name),
            self.public_url.sparse_index(name),
        );
        let registry = self.git_registry();
        self.with_provider(format!(
            "{registry}\n\
             [registries.{name}-sparse]\nindex = \"{sparse}\"\n\n\
             [source.{name}]\nregistry = \"{git}\"\nreplace-with = \"{name}-sparse\"\n"
        ))
    }

    /// Shell commands after which git, and Cargo as it reads a git index, know the token: git asks for it once.
    pub fn git_credentials(&self) -> String {
        let index = self.public_url.git_index(self.name);
        // The whole URL: Cargo does not find a helper for a host with a port.
        format!("git config --global credential.{index}.helper store\ngit ls-remote {index}\n")
    }

    fn git_registry(&self) -> String {
        let name = self.name;
        let index = self.public_url.git_index(name);
        format!("[registries.{name}]\nindex = \"{index}\"\n")
    }

    /// Cargo reads with a token only if it is told where from, even if it has one.
    fn with_provider(&self, snippet: String) -> String {
        match self.visibility {
            Visibility::Public => snippet,
            Visibility::Private => {
                format!("{snippet}\n[registry]\nglobal-credential-providers = [\"cargo:token\"]\n")
            }
        }
    }
}
