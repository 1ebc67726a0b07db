//! Every kind of dependency and feature, through a publish, the index and a build.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::common::cargos::{Sandbox, View};
use crate::common::http::get;
use crate::common::package::Package;
use crate::common::registry::Registry;
use crate::common::tools;

/// What the program prints that asks for the optional dependency and, weakly, for its feature.
const WITH_OPTION: &str =
    "base 1.0.0+build.5, fancy base, answer 42, helped at build, unix, fancy option";
/// The same without the optional dependency.
const WITHOUT_OPTION: &str = "base 1.0.0+build.5, answer 42, helped at build, unix, no option";

#[test]
fn every_kind_of_dependency_works_with_stable_cargo_over_the_sparse_index() {
    let registry = Registry::start();
    let alice = Sandbox::stable(&registry, View::Sparse);
    published_by(&registry, &alice);
    built_by(&alice);
    // What one cargo published, the other builds.
    built_by(&Sandbox::stable(&registry, View::Git));
    if let Some(program) = tools::old_cargo() {
        built_by(&Sandbox::old(program, &registry));
    }
}

#[test]
fn every_kind_of_dependency_works_with_stable_cargo_over_the_git_index() {
    let registry = Registry::start();
    let alice = Sandbox::stable(&registry, View::Git);
    published_by(&registry, &alice);
    built_by(&Sandbox::stable(&registry, View::Sparse));
}

#[test]
fn every_kind_of_dependency_works_with_debian_cargo() {
    let Some(program) = tools::old_cargo() else {
        return;
    };
    let registry = Registry::start();
    let alice = Sandbox::old(program, &registry);
    published_by(&registry, &alice);
    built_by(&alice);
    built_by(&Sandbox::stable(&registry, View::Sparse));
}

fn published_by(registry: &Registry, alice: &Sandbox) {
    alice.login(&registry.token("alice"));
    for package in leaves() {
        publish(alice, &package);
    }
    let folder = publish(alice, &everything());
    // The dependency of tests is there for those who test.
    alice
        .cargo(&folder, &["test", "--quiet", "--lib"])
        .succeeds();
    line_says_what_the_manifest_says(registry);
    let base = line(registry, "/crates/index/ba/se/base");
    assert_eq!(base["vers"], "1.0.0+build.5");
    let sys = line(registry, "/crates/index/th/in/thing-sys");
    assert_eq!(sys["links"], "thing");
}

fn built_by(reader: &Sandbox) {
    let rich = user(
        "rich",
        "features = [\"with-opt\", \"weak\", \"via-renamed\"], ",
    );
    prints(reader, &rich, WITH_OPTION);
    let plain = user("plain", "features = [\"weak\"], ");
    let folder = prints(reader, &plain, WITHOUT_OPTION);
    let tree = reader
        .cargo(&folder, &["tree", "--locked", "--edges", "normal,build"])
        .succeeds();
    for name in ["base v1.0.0+build.5", "helper", "unix-only", "thing-sys"] {
        assert!(tree.stdout.contains(name), "no {name}: {tree}");
    }
    for name in ["opt-dep", "windows-only", "tester"] {
        assert!(!tree.stdout.contains(name), "needs {name}: {tree}");
    }
}

#[track_caller]
fn publish(alice: &Sandbox, package: &Package) -> PathBuf {
    let folder = package.write(&alice.work());
    alice.publish(&folder).succeeds();
    folder
}

#[track_caller]
fn prints(reader: &Sandbox, program: &Package, text: &str) -> PathBuf {
    let folder = program.write(&reader.work());
    reader
        .cargo(&folder, &["run", "--quiet"])
        .succeeds()
        .prints(text);
    folder
}

/// The dependencies of [`everything`].
fn leaves() -> Vec<Package> {
    let simple = |name: &str, version: &str, text: &str| {
        let source = format!("pub fn text() -> &'static str {{ {text:?} }}\n");
        Package::new(name, version, "").lib(&source)
    };
    let fancy = |name: &str, version: &str, text: &str| {
        let source = format!(
            "pub fn text() -> &'static str {{ {text:?} }}\n\
             #[cfg(feature = \"fancy\")]\npub fn fancy() -> &'static str {{ \"fancy\" }}\n"
        );
        Package::new(name, version, "[features]\nfancy = []\n").lib(&source)
    };
    vec![
        fancy("base", "1.0.0+build.5", "base 1.0.0+build.5"),
        fancy("opt-dep", "1.0.0", "option"),
        simple("unix-only", "1.0.0", "unix"),
        simple("windows-only", "1.0.0", "windows"),
        simple("helper", "0.3.0", "helped at build"),
        simple("tester", "0.4.0", "tested"),
        Package::new("thing-sys", "1.2.0", "links = \"thing\"\n")
            .lib("")
            .file("build.rs", "fn main() { println!(\"cargo:answer=42\"); }\n"),
    ]
}

/// One crate with every kind of dependency and of feature.
fn everything() -> Package {
    let rest = r#"rust-version = "1.60"

[dependencies]
renamed = { package = "base", version = "1", registry = "crates" }
thing-sys = { version = "1.2", registry = "crates" }
opt-dep = { version = "1", registry = "crates", optional = true, default-features = false }

[target.'cfg(unix)'.dependencies]
unix-only = { version = ">=1, <2", registry = "crates" }

[target.'cfg(windows)'.dependencies]
windows-only = { version = "~1.0", registry = "crates" }

[build-dependencies]
helper = { version = "0.3", registry = "crates" }

[dev-dependencies]
tester = { version = "=0.4.0", registry = "crates" }

[features]
default = ["plain"]
plain = []
with-opt = ["dep:opt-dep"]
weak = ["opt-dep?/fancy"]
via-renamed = ["renamed/fancy", "plain"]
"#;
    Package::new("everything", "2.0.0", rest)
        .file(
            "build.rs",
            r#"fn main() {
    let answer = std::env::var("DEP_THING_ANSWER").unwrap();
    println!("cargo:rustc-env=ANSWER=answer {answer}");
    println!("cargo:rustc-env=HELPED={}", helper::text());
}
"#,
        )
        .lib(
            r#"pub fn text() -> String {
    let mut parts = vec![renamed::text()];
    #[cfg(feature = "via-renamed")]
    parts.push(concat_fancy());
    parts.extend([env!("ANSWER"), env!("HELPED")]);
    #[cfg(unix)]
    parts.push(unix_only::text());
    #[cfg(windows)]
    parts.push(windows_only::text());
    #[cfg(feature = "with-opt")]
    let option = format!("{} {}", opt_dep::fancy(), opt_dep::text());
    #[cfg(not(feature = "with-opt"))]
    let option = String::from("no option");
    parts.push(&option);
    parts.join(", ")
}

#[cfg(feature = "via-renamed")]
fn concat_fancy() -> &'static str {
    assert_eq!(renamed::fancy(), "fancy");
    "fancy base"
}

#[test]
fn is_tested() {
    assert_eq!(tester::text(), "tested");
}
"#,
        )
}

fn user(name: &str, details: &str) -> Package {
    let rest = format!(
        "rust-version = \"1.60\"\n\n[dependencies]\n\
         everything = {{ version = \"2\", {details}registry = \"crates\" }}\n"
    );
    Package::new(name, "0.1.0", &rest).main("fn main() { println!(\"{}\", everything::text()); }\n")
}

/// Compares the line of [`everything`] with what its manifest says, written out by hand.
fn line_says_what_the_manifest_says(registry: &Registry) {
    let mut line = line(registry, "/crates/index/ev/er/everything");
    let dep = |name: &str, req: &str, kind: &str, target: Value| {
        json!({
            "name": name, "req": req, "features": [], "optional": false,
            "default_features": true, "target": target, "kind": kind, "registry": null,
        })
    };
    let mut renamed = dep("renamed", "^1", "normal", Value::Null);
    renamed["package"] = "base".into();
    let mut optional = dep("opt-dep", "^1", "normal", Value::Null);
    optional["optional"] = true.into();
    optional["default_features"] = false.into();
    let wanted = [
        dep("helper", "^0.3", "build", Value::Null),
        optional,
        renamed,
        dep("tester", "=0.4.0", "dev", Value::Null),
        dep("thing-sys", "^1.2", "normal", Value::Null),
        dep("unix-only", ">=1, <2", "normal", "cfg(unix)".into()),
        dep("windows-only", "~1.0", "normal", "cfg(windows)".into()),
    ];
    let mut deps = line["deps"].as_array().unwrap().clone();
    deps.sort_by_key(|dep| dep["name"].as_str().unwrap().to_owned());
    // A key that is null says what a key that is missing says.
    for dep in &mut deps {
        let keys = dep.as_object_mut().unwrap();
        keys.retain(|key, value| !value.is_null() || matches!(key.as_str(), "target" | "registry"));
        keys.entry("target").or_insert(Value::Null);
        keys.entry("registry").or_insert(Value::Null);
    }
    assert_eq!(deps, wanted);

    let features =
        json!({ "default": ["plain"], "plain": [], "via-renamed": ["renamed/fancy", "plain"] });
    let features2 = json!({ "with-opt": ["dep:opt-dep"], "weak": ["opt-dep?/fancy"] });
    assert_eq!(line["features"], features);
    assert_eq!(line["features2"], features2);
    assert_eq!(line["v"], 2);
    assert_eq!(line["rust_version"], "1.60");
    assert_eq!(line["yanked"], false);
    assert_eq!(line["links"].take(), Value::Null);
    let pubtime = line["pubtime"].as_str().unwrap();
    assert!(pubtime.len() == 20 && pubtime.ends_with('Z'), "{pubtime}");
}

/// The only line of a crate.
#[track_caller]
fn line(registry: &Registry, path: &str) -> Value {
    get(path).send(registry.port).succeeds().json()
}
