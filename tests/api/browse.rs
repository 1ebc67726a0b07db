//! Pages on which people look through the crates.

use crate::common::git;
use crate::common::http::{Reply, get};
use crate::common::person::commit_file;
use crate::common::registry::Registry;
use crate::common::upload::Release;
use crate::common::watch::eventually;

fn page(registry: &Registry, path: &str) -> Reply {
    let reply = get(format!("/crates/{path}")).send(registry.port);
    if reply.status == 200 {
        assert_eq!(
            reply.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        let policy = reply.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
    }
    reply
}

#[test]
fn crates_are_listed_and_found() {
    let registry = Registry::start();
    assert!(page(&registry, "").succeeds().text().contains("0 crates"));
    let token = registry.token("alice");
    for (name, version) in [("greeter", "1.0.0"), ("parser", "0.2.0")] {
        Release::new(name, version)
            .publish(registry.port, &token)
            .succeeds();
    }
    let all = page(&registry, "").succeeds();
    for part in [
        "2 crates",
        "<h2>greeter 1.0.0</h2>",
        "<h2>parser 0.2.0</h2>",
        "cargo add parser --registry crates",
    ] {
        assert!(all.text().contains(part), "{part}: {}", all.text());
    }
    let found = page(&registry, "?q=parse").succeeds();
    assert!(found.text().contains("1 crate."), "{}", found.text());
    assert!(!found.text().contains("greeter"), "{}", found.text());
    // What somebody looks for comes back as text, whatever it is.
    let nasty = page(&registry, "?q=%22%3E%3Cscript%3E").succeeds();
    assert!(!nasty.text().contains("<script>"), "{}", nasty.text());
    assert!(nasty.text().contains("value=\"&quot;&gt;&lt;script&gt;\""));
}

#[test]
fn the_crates_of_a_repository_are_found_by_its_number() {
    let mut registry = Registry::start();
    let token = registry.token("alice");
    for name in ["greeter", "parser"] {
        Release::new(name, "1.0.0")
            .publish(registry.port, &token)
            .succeeds();
    }
    assert_eq!(page(&registry, "repositories/7").status, 404);
    let owners =
        "users = [{ login = \"alice\" }]\nrepository = { name = \"acme/greeter\", id = 7 }\n";
    commit_file(&registry, "owners/gr/ee/greeter.toml", owners);
    let shown = eventually("the push is served", || {
        let reply = page(&registry, "repositories/7");
        (reply.status == 200).then_some(reply)
    });
    assert!(
        shown.text().contains("<h2>greeter 1.0.0</h2>"),
        "{}",
        shown.text()
    );
    assert!(!shown.text().contains("parser"), "{}", shown.text());
    for none in ["repositories/8", "repositories/x", "repositories/"] {
        assert_eq!(page(&registry, none).status, 404, "{none}");
    }
    git::assert_sound(&registry.repository());
    registry.knows_its_files();
}
