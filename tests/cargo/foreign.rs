//! Dependencies on other registries: the public one, and a third one.

use serde_json::Value;

use crate::common::cargos::{Sandbox, View};
use crate::common::http::get;
use crate::common::package::Package;
use crate::common::person;
use crate::common::project::Project;
use crate::common::registry::Registry;
use crate::common::tools;

/// The URL by which every Cargo names the public registry in an index, whatever it reads itself.
const PUBLIC: &str = "https://github.com/rust-lang/crates.io-index";

#[test]
fn the_public_registry_is_named_by_its_constant_url_over_the_sparse_index() {
    let registry = Registry::start();
    let alice = Sandbox::stable(&registry, View::Sparse);
    depends_on_the_public_registry(&registry, &alice);
}

#[test]
fn the_public_registry_is_named_by_its_constant_url_over_the_git_index() {
    let registry = Registry::start();
    let alice = Sandbox::stable(&registry, View::Git);
    depends_on_the_public_registry(&registry, &alice);
}

#[test]
fn the_public_registry_is_named_by_its_constant_url_by_debian_cargo() {
    let Some(program) = tools::old_cargo() else {
        return;
    };
    let registry = Registry::start();
    let alice = Sandbox::old(program, &registry);
    depends_on_the_public_registry(&registry, &alice);
}

fn depends_on_the_public_registry(registry: &Registry, alice: &Sandbox) {
    Package::new("outside", "1.3.0", "")
        .lib("pub fn text() -> &'static str { \"from outside\" }\n")
        .vendor(&alice.public_crates());
    alice.login(&registry.token("alice"));
    let inside = Package::new("inside", "1.0.0", "[dependencies]\noutside = \"1.2\"\n")
        .lib("pub fn text() -> String { outside::text().into() }\n")
        .write(&alice.work());
    alice.publish(&inside).succeeds();
    let dep = only_dependency(registry, "/crates/index/in/si/inside");
    assert_eq!(dep["registry"], PUBLIC);
    assert_eq!(dep["req"], "^1.2");

    let program = Project::program("hello", "println!(\"{}\", inside::text());")
        .depends_on("inside", "1")
        .write(&alice.work());
    alice
        .cargo(&program, &["run", "--quiet"])
        .succeeds()
        .prints("from outside");
}

#[test]
fn a_third_registry_is_allowed_by_policy_alone_by_its_sparse_url() {
    a_third_registry_is_allowed_by_policy_alone(View::Sparse);
}

#[test]
fn a_third_registry_is_allowed_by_policy_alone_by_its_git_url() {
    a_third_registry_is_allowed_by_policy_alone(View::Git);
}

fn a_third_registry_is_allowed_by_policy_alone(view: View) {
    let third = Registry::start();
    let index = match view {
        View::Sparse => third.sparse_index(),
        View::Git => third.git_index(),
    };
    let mut registry = Registry::start();
    let alice = Sandbox::stable(&registry, view);
    let third_too = format!("[registries.third]\nindex = {index:?}\n");
    alice.configure(&third_too);
    let elsewhere = Project::library("elsewhere", "1.0.0", "from elsewhere").write(&alice.work());
    let token = third.token("alice");
    let publish = ["publish", "--registry", "third", "--token", &token];
    alice.cargo(&elsewhere, &publish).succeeds();

    alice.login(&registry.token("alice"));
    let rest = "[dependencies]\nelsewhere = { version = \"1\", registry = \"third\" }\n";
    let user = Package::new("user", "1.0.0", rest)
        .lib("pub fn text() -> String { elsewhere::greeting() }\n")
        .write(&alice.work());
    alice
        .publish(&user)
        .fails_with(&format!("localhost:{}", third.port));
    assert_eq!(
        get("/crates/index/us/er/user").send(registry.port).status,
        404
    );

    registry.stop();
    let policy = format!("dependencies_from = [{index:?}]\n");
    person::commit_file(&registry, "policy.toml", &policy);
    registry.start_again();
    alice.publish(&user).succeeds();
    let dep = only_dependency(&registry, "/crates/index/us/er/user");
    assert_eq!(dep["registry"], index);

    let reads = |reader: &Sandbox| {
        let program = Project::program("hello", "println!(\"{}\", user::text());")
            .depends_on("user", "1")
            .write(&reader.work());
        reader
            .cargo(&program, &["run", "--quiet"])
            .succeeds()
            .prints("from elsewhere");
    };
    reads(&alice);
    // Old Cargo follows to a third registry only if that one is named by its git URL.
    if let (View::Git, Some(program)) = (view, tools::old_cargo()) {
        let old = Sandbox::old(program, &registry);
        old.configure(&third_too);
        reads(&old);
    }

    // The new policy no longer names the public registry.
    Package::new("outside", "1.3.0", "")
        .lib("")
        .vendor(&alice.public_crates());
    let inside = Package::new("inside", "1.0.0", "[dependencies]\noutside = \"1\"\n")
        .lib("")
        .write(&alice.work());
    alice.publish(&inside).fails_with("outside");
}

/// The dependency of a crate's only line.
#[track_caller]
fn only_dependency(registry: &Registry, path: &str) -> Value {
    let line = get(path).send(registry.port).succeeds().json();
    let deps = line["deps"].as_array().unwrap();
    assert_eq!(deps.len(), 1, "{line}");
    deps[0].clone()
}
