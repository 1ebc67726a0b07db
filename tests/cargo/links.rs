//! Two crates that claim one native library.

use crate::common::cargos::{Sandbox, View};
use crate::common::package::Package;
use crate::common::project::Project;
use crate::common::registry::Registry;
use crate::common::tools;

#[test]
fn the_resolver_reports_a_clash_of_links() {
    let registry = Registry::start();
    let alice = Sandbox::stable(&registry, View::Sparse);
    alice.login(&registry.token("alice"));
    for name in ["first-sys", "second-sys"] {
        let folder = Package::new(name, "1.0.0", "links = \"thing\"\n")
            .lib("")
            .file("build.rs", "fn main() {}\n")
            .write(&alice.work());
        let words = ["publish", "--registry", "crates", "--no-verify"];
        alice.cargo(&folder, &words).succeeds();
    }
    let mut readers = vec![alice, Sandbox::stable(&registry, View::Git)];
    if let Some(program) = tools::old_cargo() {
        readers.push(Sandbox::old(program, &registry));
    }
    for reader in readers {
        let program = Project::program("torn", "")
            .depends_on("first-sys", "1")
            .depends_on("second-sys", "1")
            .write(&reader.work());
        // Without the key in the index Cargo would learn of it only after downloading both.
        let log_len = registry.log().len();
        reader
            .cargo(&program, &["generate-lockfile"])
            .fails_with("links to the native library `thing`");
        let log = registry.log();
        assert!(!log[log_len..].contains("/crates/dl/"), "{log}");
    }
}
