//! A registry is as public as its index repository on the forge.

use std::fs;

use tempfile::TempDir;

use super::api::signature;
use super::beside::{Beside, DEVELOPER, HOOK_SECRET, Wanted, publish};
use super::gitea::Gitea;
use super::scene::Visibility;
use crate::common::cargos::{Sandbox, View};
use crate::common::git;
use crate::common::http::{get, request};
use crate::common::project::Project;
use crate::common::registry::Registry;
use crate::common::watch::eventually;

/// What somebody without a token hears.
fn anonymous(registry: &Registry) -> u16 {
    let config = get("/crates/index/config.json");
    config.send(registry.port).status
}

#[test]
fn a_registry_that_is_made_is_as_public_as_its_repository() {
    let Some(forge) = Gitea::shared() else { return };
    let private = Wanted {
        visibility: Visibility::Private,
        ..Wanted::default()
    };
    let kept = Wanted {
        keys: Wanted::private().keys,
        ..Wanted::default()
    };
    for (wanted, status) in [(Wanted::default(), 200), (private, 401), (kept, 401)] {
        let beside = Beside::start_as(forge, &wanted);
        assert_eq!(anonymous(&beside.registry), status);
        let is_private = beside.file("config.json").contains("auth-required");
        assert_eq!(is_private, status == 401);
        // One commit, not one that takes another back.
        assert!(beside.newest().contains("found the registry"));
    }
}

#[test]
fn a_repository_that_is_hidden_hides_the_registry_at_once() {
    let Some(forge) = Gitea::shared() else { return };
    let mut beside = Beside::start(forge);
    let alice = forge.user("alice");
    let token = beside.token(&alice, &DEVELOPER);
    publish(&beside.developer(&token), "0.1.0").succeeds();
    assert_eq!(anonymous(&beside.registry), 200);
    forge.show(&beside.repository, Visibility::Private);
    eventually("nobody reads without a token", || {
        (anonymous(&beside.registry) == 401).then_some(())
    });
    eventually("the index says so", || {
        let is_said = beside
            .file("config.json")
            .contains("\"auth-required\":true");
        is_said.then_some(())
    });
    let newest = beside.newest();
    assert!(
        newest.contains("\n\nmake the registry private\n"),
        "{newest}"
    );
    // Cargo sends its token from now on.
    let stranger = Sandbox::stable(&beside.registry, View::Sparse);
    let program = Project::program("hello", "").depends_on("greeter", "0.1");
    let lock = ["generate-lockfile"];
    let ran = stranger.cargo(&program.write(&stranger.work()), &lock);
    ran.fails_with("authenticated registries require a credential-provider");
    forge.collaborate(&beside.repository, &alice, "read");
    let reader = beside.developer(&beside.token(&alice, &DEVELOPER));
    let program = Project::program("hello", "").depends_on("greeter", "0.1");
    let program = program.write(&reader.work());
    reader.cargo(&program, &lock).succeeds();
    // A start knows it, too.
    beside.registry.stop();
    beside.registry.start_again();
    assert_eq!(anonymous(&beside.registry), 401);
    beside.tip();
}

#[test]
fn an_event_of_the_repository_hastens_the_look() {
    let Some(forge) = Gitea::shared() else { return };
    // So that it is not seen by looking.
    let beside = Beside::start_and_look_each(forge, 3600);
    forge.show(&beside.repository, Visibility::Private);
    let body = "{}";
    let event = |signature: &str| {
        let event = request("POST", "/crates/webhook")
            .header("X-GitHub-Event", "repository")
            .header("X-Hub-Signature-256", signature)
            .body(body);
        event.send(beside.registry.port).status
    };
    assert_eq!(event(&format!("sha256={}", "0".repeat(64))), 401);
    assert_eq!(anonymous(&beside.registry), 200);
    assert_eq!(event(&signature(HOOK_SECRET, body.as_bytes())), 200);
    eventually("nobody reads without a token", || {
        (anonymous(&beside.registry) == 401).then_some(())
    });
}

#[test]
fn the_registry_is_hidden_also_while_the_forge_does_not_take_the_commit_that_says_so() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let tip = beside.tip();
    forge.collaborate(&beside.repository, &beside.robot, "read");
    forge.show(&beside.repository, Visibility::Private);
    eventually("nobody reads without a token", || {
        (anonymous(&beside.registry) == 401).then_some(())
    });
    assert_eq!(forge.tip(&beside.repository), tip);
    forge.collaborate(&beside.repository, &beside.robot, "write");
    eventually("the index says so", || {
        let is_said = beside
            .file("config.json")
            .contains("\"auth-required\":true");
        is_said.then_some(())
    });
}

#[test]
fn the_registry_stays_hidden_at_a_start_that_nobody_tells_so() {
    let Some(mut forge) = Gitea::start() else {
        return;
    };
    let Beside {
        mut registry,
        repository,
        robot,
        secret: _secret,
        ..
    } = Beside::start(&forge);
    let mark = registry.data().join("closed");
    forge.collaborate(&repository, &robot, "read");
    forge.show(&repository, Visibility::Private);
    eventually("nobody reads without a token", || {
        (anonymous(&registry) == 401).then_some(())
    });
    assert!(mark.exists());
    registry.kill();
    forge.stop();
    for _ in 0..2 {
        registry.start_again();
        assert_eq!(anonymous(&registry), 401);
        registry.stop();
    }
    registry.start_again();
    forge.start_again();
    assert_eq!(anonymous(&registry), 401);
    forge.collaborate(&repository, &robot, "write");
    eventually("the index says so", || {
        let shown = git::git(&registry.repository(), &["show", "main:config.json"]);
        let is_said = shown.succeeds().stdout.contains("\"auth-required\":true");
        (is_said && !mark.exists()).then_some(())
    });
    assert_eq!(anonymous(&registry), 401);
}

#[test]
fn what_the_configuration_hides_is_hidden_although_the_forge_takes_no_commit() {
    let Some(forge) = Gitea::shared() else { return };
    let mut beside = Beside::start(forge);
    let tip = beside.tip();
    forge.collaborate(&beside.repository, &beside.robot, "read");
    beside.registry.stop();
    let private = format!("{}{}", Wanted::private().keys, beside.config);
    beside.registry.start_again_with(&private);
    assert_eq!(anonymous(&beside.registry), 401);
    assert_eq!(forge.tip(&beside.repository), tip);
    forge.collaborate(&beside.repository, &beside.robot, "write");
    eventually("the index says so", || {
        let is_said = beside
            .file("config.json")
            .contains("\"auth-required\":true");
        is_said.then_some(())
    });
    assert_eq!(anonymous(&beside.registry), 401);
}

#[test]
fn what_the_forge_hid_stays_hidden_without_it_until_the_configuration_says_otherwise() {
    let Some(forge) = Gitea::shared() else { return };
    let private = Wanted {
        visibility: Visibility::Private,
        ..Wanted::default()
    };
    // The index says it, or the file alone.
    for (wanted, is_marked) in [(private, false), (Wanted::default(), true)] {
        let mut beside = Beside::start_as(forge, &wanted);
        if is_marked {
            forge.collaborate(&beside.repository, &beside.robot, "read");
            forge.show(&beside.repository, Visibility::Private);
            eventually("nobody reads without a token", || {
                (anonymous(&beside.registry) == 401).then_some(())
            });
        }
        beside.registry.stop();
        assert_eq!(beside.registry.data().join("closed").exists(), is_marked);
        let forget = ["update-ref", "-d", "refs/sidecargo/upstream"];
        git::git(&beside.registry.repository(), &forget).succeeds();
        beside.registry.start_again_with("");
        assert_eq!(anonymous(&beside.registry), 401);
        beside.registry.stop();
        beside
            .registry
            .start_again_with("visibility = \"public\"\n");
        assert_eq!(anonymous(&beside.registry), 200);
    }
}

#[test]
fn while_the_forge_is_away_a_registry_stays_as_it_was() {
    let Some(mut forge) = Gitea::start() else {
        return;
    };
    let open = Wanted::default();
    let hidden = Wanted {
        visibility: Visibility::Private,
        ..Wanted::default()
    };
    let [mut open, mut hidden] = [open, hidden].map(|wanted| {
        let Beside {
            registry,
            config,
            secret,
            ..
        } = Beside::start_as(&forge, &wanted);
        (registry, config, secret)
    });
    forge.stop();
    for ((registry, config, _secret), status) in [(&mut open, 200), (&mut hidden, 401)] {
        assert_eq!(anonymous(registry), status);
        registry.stop();
        registry.start_again();
        assert_eq!(anonymous(registry), status);
        // But for what the configuration says.
        registry.stop();
        registry.start_again_with(&format!("{}{config}", Wanted::private().keys));
        assert_eq!(anonymous(registry), 401);
    }
}

#[test]
fn a_restore_does_not_open_what_the_forge_hid() {
    let Some(mut forge) = Gitea::start() else {
        return;
    };
    let Beside {
        mut registry,
        repository,
        secret: _secret,
        ..
    } = Beside::start(&forge);
    let scratch = TempDir::new().unwrap();
    let backup = scratch.path().join("backup").display().to_string();
    // Yesterday's backup, while everybody could read.
    registry.run(&["backup", &backup]).succeeds();
    forge.show(&repository, Visibility::Private);
    eventually("the index says so", || {
        let shown = git::git(&registry.repository(), &["show", "main:config.json"]);
        let is_said = shown.succeeds().stdout.contains("\"auth-required\":true");
        (is_said && anonymous(&registry) == 401).then_some(())
    });
    registry.stop();
    // The machine with both is lost; the registry is restored first.
    forge.stop();
    let data = registry.data();
    fs::rename(&data, scratch.path().join("lost")).unwrap();
    registry.run(&["restore", &backup]).succeeds();
    registry.start_again();
    assert_eq!(anonymous(&registry), 401);
}
