//! `cargo search`: what is found, in which order, and how it is shown.

use std::fs;

use crate::common::cargos::{Sandbox, View};
use crate::common::http::get;
use crate::common::project::Project;
use crate::common::registry::Registry;

/// A registry, and somebody who publishes and searches.
struct Library {
    registry: Registry,
    sandbox: Sandbox,
}

impl Library {
    fn new() -> Self {
        let registry = Registry::start();
        let sandbox = Sandbox::stable(&registry, View::Sparse);
        sandbox.login(&registry.token("alice"));
        Self { registry, sandbox }
    }

    #[track_caller]
    fn publish(&self, name: &str, version: &str, description: &str, keywords: &[&str]) {
        let folder = Project::library(name, version, "").write(&self.sandbox.work());
        let path = folder.join("Cargo.toml");
        let manifest = fs::read_to_string(&path).unwrap().replace(
            "description = \"A crate of a test\"\n",
            &format!("description = {description:?}\nkeywords = {keywords:?}\n"),
        );
        assert!(manifest.contains(description));
        fs::write(path, manifest).unwrap();
        let arguments = ["publish", "--registry", "crates", "--no-verify"];
        self.sandbox
            .cargo(&folder, &[&arguments[..], &["--allow-dirty"]].concat())
            .succeeds();
    }

    #[track_caller]
    fn yank(&self, krate: &str, extra: &[&str]) {
        let arguments = ["yank", krate, "--registry", "crates"];
        self.sandbox
            .cargo(&self.sandbox.work(), &[&arguments[..], extra].concat())
            .succeeds();
    }

    /// What Cargo prints, line by line.
    #[track_caller]
    fn search(&self, arguments: &[&str]) -> Vec<String> {
        let command = ["search", "--registry", "crates"];
        let ran = self
            .sandbox
            .cargo(&self.sandbox.work(), &[&command[..], arguments].concat())
            .succeeds();
        ran.stdout.lines().map(str::to_owned).collect()
    }

    /// The names of the crates that Cargo prints.
    #[track_caller]
    fn found(&self, arguments: &[&str]) -> Vec<String> {
        let name = |line: &String| Some(line.split_once(" = \"")?.0.to_owned());
        self.search(arguments).iter().filter_map(name).collect()
    }
}

#[test]
fn crates_are_found_by_name_keyword_and_description() {
    let library = Library::new();
    library.publish(
        "wood",
        "1.0.0",
        "Trunks & planks, 100% natural",
        &["timber"],
    );
    library.publish(
        "Wood-Saw",
        "0.2.0",
        "Cuts timber at the Größe you like",
        &[],
    );
    library.publish("hardwood", "3.1.4", "Oak", &["Oak-Tree"]);
    library.publish("nail", "0.1.0", "Holds wood together", &["iron"]);

    assert_eq!(
        library.search(&["wood"]),
        [
            "wood = \"1.0.0\"        # Trunks & planks, 100% natural",
            "Wood-Saw = \"0.2.0\"    # Cuts timber at the Größe you like",
            "hardwood = \"3.1.4\"    # Oak",
            "nail = \"0.1.0\"        # Holds wood together",
        ]
    );
    for (words, expected) in [
        (&["wood-saw"][..], &["Wood-Saw"][..]),
        (&["WOOD_SAW"], &["Wood-Saw"]),
        (&["wood", "saw"], &["Wood-Saw"]),
        (&["saw", "wood"], &["Wood-Saw"]),
        (&["timber"], &["wood", "Wood-Saw"]),
        (&["oak tree"], &["hardwood"]),
        (&["together", "IRON", "nail"], &["nail"]),
        (&["iron", "timber"], &[]),
        (&["größe"], &["Wood-Saw"]),
        (&["&"], &["wood"]),
        (&["100%"], &["wood"]),
        (&["planks, 100%"], &["wood"]),
        (&["%20"], &[]),
        (&["saw+wood"], &["Wood-Saw"]),
        (&["q=wood&per_page=1"], &[]),
        (&["日本語"], &[]),
    ] {
        assert_eq!(library.found(words), expected, "{words:?}");
    }
}

#[test]
fn as_many_are_shown_as_were_asked_for() {
    let library = Library::new();
    for name in ["wood", "woodbox", "woodcut", "woodpile"] {
        library.publish(name, "1.0.0", "Trunks", &[]);
    }
    let shown = library.search(&["wood", "--limit", "2"]);
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert!(shown[0].starts_with("wood = "), "{shown:?}");
    assert!(shown[1].starts_with("woodbox = "), "{shown:?}");
    assert_eq!(
        shown[2],
        "... and 2 crates more (use --limit N to see more)"
    );
    assert_eq!(library.found(&["trunks", "--limit", "100"]).len(), 4);
}

#[test]
fn a_search_shows_the_newest_version_and_survives_a_restart() {
    let mut library = Library::new();
    library.publish("wood", "1.0.0", "Green trunks", &[]);
    assert_eq!(
        library.search(&["green"]),
        ["wood = \"1.0.0\"    # Green trunks"]
    );
    library.publish("wood", "1.1.0", "Dry trunks", &[]);
    let dry = ["wood = \"1.1.0\"    # Dry trunks"];
    assert_eq!(library.search(&["trunks"]), dry);
    assert!(library.search(&["green"]).is_empty());

    library.yank("wood@1.1.0", &[]);
    let green = ["wood = \"1.0.0\"    # Green trunks"];
    assert_eq!(library.search(&["trunks"]), green);
    assert!(library.search(&["dry"]).is_empty());

    library.registry.stop();
    library.registry.start_again();
    assert_eq!(library.search(&["trunks"]), green);
    library.yank("wood@1.1.0", &["--undo"]);
    assert_eq!(library.search(&["trunks"]), dry);

    // Without its cache, and after an end without warning.
    library.registry.kill();
    fs::remove_dir_all(library.registry.data().join("cache")).unwrap();
    library.registry.start_again();
    assert_eq!(library.search(&["trunks"]), dry);
}

#[test]
fn a_crate_without_a_readable_file_is_found_by_its_name() {
    let mut library = Library::new();
    library.publish("wood", "1.0.0", "Trunks", &[]);
    let line = get("/crates/index/wo/od/wood")
        .send(library.registry.port)
        .json();
    let cksum = line["cksum"].as_str().unwrap();
    let blob = library.registry.blob(cksum);
    library.registry.kill();
    let _ = fs::remove_dir_all(library.registry.data().join("cache"));
    fs::write(blob, "no archive").unwrap();
    library.registry.start_again();

    let reply = get("/crates/api/v1/crates?q=wood").send(library.registry.port);
    assert_eq!(
        reply.succeeds().json(),
        serde_json::json!({
            "crates": [{ "name": "wood", "max_version": "1.0.0", "description": null }],
            "meta": { "total": 1 },
        })
    );
    assert!(library.found(&["trunks"]).is_empty());
    let log = library.registry.log();
    assert!(
        log.contains("no description in the catalog") && log.contains(cksum),
        "{log}"
    );
}

#[test]
fn odd_requests_are_answered_or_refused() {
    let library = Library::new();
    library.publish("wood", "1.0.0", "Trunks", &[]);
    let total = |query: &str| {
        let path = format!("/crates/api/v1/crates{query}");
        let reply = get(path).send(library.registry.port).succeeds();
        reply.json()["meta"]["total"].as_u64().unwrap()
    };
    for query in [
        "",
        "?",
        "?q=",
        "?q",
        "?q=+",
        "?q=%20%0A",
        "?q=WOOD&per_page=100",
        "?page=7",
    ] {
        assert_eq!(total(query), 1, "{query}");
    }
    let long = format!("?q={}", "a".repeat(8000));
    for query in ["?q=%FF%FE", "?q=%00", "?q=wood%", "?q=%25", &long] {
        assert_eq!(total(query), 0, "{query}");
    }
    for query in [
        "per_page=0",
        "per_page=101",
        "per_page=-1",
        "per_page=x",
        "per_page=",
    ] {
        let path = format!("/crates/api/v1/crates?q=wood&{query}");
        let reply = get(path).send(library.registry.port);
        assert_eq!(reply.status, 400, "{query}");
        assert!(reply.refusal().contains("per_page"), "{query}");
    }
}
