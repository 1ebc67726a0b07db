//! People who change the index by git while the server runs.

use std::fs;
use std::os::unix::fs::symlink;

use crate::common::cargos::{Sandbox, View};
use crate::common::git::{self, Clone};
use crate::common::http::{Reply, get, request};
use crate::common::person::{Person, Receive};
use crate::common::project::{Project, locked_version};
use crate::common::registry::Registry;
use crate::common::upload::Release;
use crate::common::watch::{Watch, eventually};

const LINES: &str = "fo/o-/foo-bar";
const TWIN: &str = "fo/o_/foo_bar";
const OWNERS: &str = "owners/fo/o-/foo-bar.toml";
const WATCHED: [&str; 4] = ["config.json", LINES, TWIN, "1/x"];

/// A registry with two versions of the crate `foo-bar` of alice, and her token.
fn registry() -> (Registry, String) {
    let registry = Registry::start();
    let token = registry.token("alice");
    for version in ["1.0.0", "1.1.0"] {
        let release = Release::new("foo-bar", version);
        release.publish(registry.port, &token).succeeds();
    }
    (registry, token)
}

/// Yanks the older version, or takes that back.
fn yank(registry: &Registry, token: &str, verb: &str) -> Reply {
    let (method, word) = match verb {
        "yank" => ("DELETE", "yank"),
        other => ("PUT", other),
    };
    request(
        method,
        format!("/crates/api/v1/crates/foo-bar/1.0.0/{word}"),
    )
    .token(token)
    .send(registry.port)
}

/// Waits until the index is served again as the branch has it.
#[track_caller]
fn serves(registry: &Registry, commit: &str) {
    let served = "refs/namespaces/served/refs/heads/main";
    eventually("the push is served", || {
        let found = git::git(&registry.repository(), &["rev-parse", served]);
        let ready = get("/readyz").try_send(registry.port).ok()?.status == 200;
        (ready && found.stdout.trim() == commit).then_some(())
    });
}

/// Waits until the registry says that it does not follow the branch, and gives the reason.
#[track_caller]
fn stands_still(registry: &Registry) -> String {
    eventually("the registry does not follow", || {
        let reply = get("/readyz").try_send(registry.port).ok()?;
        (reply.status == 503).then(|| reply.refusal())
    })
}

/// Makes the newest version a yanked one.
fn yank_by_hand(person: &Person) {
    let lines = person.read(LINES);
    let (first, second) = lines.split_once('\n').unwrap();
    let second = second.replace("\"yanked\":false", "\"yanked\":true");
    person.write(LINES, &format!("{first}\n{second}"));
}

#[test]
fn what_people_push_is_served_in_both_views_as_one_pack() {
    what_people_push_is_served_in_both_views(Receive::Packed);
}

#[test]
fn what_people_push_is_served_in_both_views_as_loose_objects() {
    what_people_push_is_served_in_both_views(Receive::Loose);
}

fn what_people_push_is_served_in_both_views(receive: Receive) {
    let (mut registry, alice) = registry();
    let bob = registry.token("bob");
    let sandboxes = [View::Sparse, View::Git].map(|view| Sandbox::stable(&registry, view));
    let program = Project::program("hello", "").depends_on("foo-bar", "1");
    let programs = sandboxes.each_ref().map(|sandbox| {
        let folder = program.write(&sandbox.work());
        sandbox.cargo(&folder, &["generate-lockfile"]).succeeds();
        assert_eq!(locked_version(&folder, "foo-bar"), "1.1.0");
        folder
    });
    let watch = Watch::begin(&registry, &WATCHED);
    let person = Person::of(&registry);
    yank_by_hand(&person);
    let yanked = person.commit("yank by hand");
    person.push("HEAD:main", receive).succeeds();
    serves(&registry, &yanked);
    let sparse = get(format!("/crates/index/{LINES}")).send(registry.port);
    assert_eq!(sparse.succeeds().text(), person.read(LINES));
    let clone = Clone::of(&registry);
    assert_eq!(clone.git(&["rev-parse", "HEAD"]), yanked);
    assert_eq!(clone.bytes(LINES), person.read(LINES).into_bytes());
    for (sandbox, folder) in sandboxes.iter().zip(&programs) {
        sandbox.cargo(folder, &["update"]).succeeds();
        sandbox.lock_anew(folder);
        assert_eq!(locked_version(folder, "foo-bar"), "1.0.0");
    }

    person.replace(OWNERS, "alice", "bob");
    let owned = person.commit("give it to bob");
    person.push("HEAD:main", receive).succeeds();
    serves(&registry, &owned);
    let release = Release::new("foo-bar", "1.2.0");
    let refused = release.publish(registry.port, &alice).refusal();
    assert!(refused.contains("its owners are bob"), "{refused}");
    release.publish(registry.port, &bob).succeeds();

    person.catch_up();
    person.replace(
        "policy.toml",
        "create = \"everyone\"",
        "create = [\"carol\"]",
    );
    let ruled = person.commit("carol creates crates");
    person.push("HEAD:main", receive).succeeds();
    serves(&registry, &ruled);
    let other = Release::new("other", "1.0.0");
    let refused = other.publish(registry.port, &bob).refusal();
    assert!(refused.contains("create crates"), "{refused}");
    other
        .publish(registry.port, &registry.token("carol"))
        .succeeds();
    watch.saw_nothing_of(&registry, &[]);
    git::assert_sound(&registry.repository());
    registry.run(&["verify"]).succeeds();
    registry.knows_its_files();
}

/// Something that nobody may do, and what is said of it.
type Case = (fn(&Person), &'static str);

const FORBIDDEN: [Case; 14] = [
    (
        |person| {
            let lines = person.read(LINES);
            let (first, _) = lines.split_once('\n').unwrap();
            person.write(LINES, &format!("{first}\n"));
        },
        "has lost the line of version `1.1.0`",
    ),
    (
        |person| {
            let other = Release::new("foo-bar", "1.1.0").cksum();
            person.replace(LINES, &Release::new("foo-bar", "1.0.0").cksum(), &other);
        },
        "has another line for version `1.0.0`",
    ),
    (
        |person| {
            person.replace(LINES, "\"deps\":[]", "\"deps\": []");
        },
        "has another line for version `1.0.0`",
    ),
    (
        |person| {
            let lines = person.read(LINES);
            let (first, _) = lines.split_once('\n').unwrap();
            let added = first.replace("1.0.0", "1.5.0");
            person.write(LINES, &format!("{lines}{added}\n"));
        },
        "has a line for version `1.5.0` that the registry did not write",
    ),
    (
        |person| {
            let twin = |text: String| text.replace("foo-bar", "foo_bar");
            person.write(TWIN, &twin(person.read(LINES)));
            person.write("owners/fo/o_/foo_bar.toml", &person.read(OWNERS));
        },
        "differs from `foo-bar` only in `-` and `_`",
    ),
    (
        |person| {
            person.write("1/x", &person.read(LINES).replace("foo-bar", "x"));
            person.write("owners/1/x.toml", &person.read(OWNERS));
        },
        "that the registry did not write",
    ),
    (
        |person| {
            person.replace("config.json", "localhost", "evil.localhost");
        },
        "`config.json` was changed, which only the registry",
    ),
    (
        |person| {
            person.write("allowed_signers", "registry ssh-ed25519 AAAA\n");
        },
        "`allowed_signers` was changed, which only the registry",
    ),
    (
        |person| {
            person.replace("registry.toml", "localhost", "evil.localhost");
        },
        "`registry.toml` was changed, which only the registry",
    ),
    (
        |person| symlink("foo-bar", person.path().join("fo/o-/foo-baz")).unwrap(),
        "`fo/o-/foo-baz` is not a plain file",
    ),
    (
        |person| fs::remove_file(person.path().join(LINES)).unwrap(),
        "was removed; put it back",
    ),
    (
        |person| fs::remove_file(person.path().join(OWNERS)).unwrap(),
        "was removed; put it back",
    ),
    (
        |person| {
            person.write(OWNERS, "users = 7\n");
        },
        "`owners/fo/o-/foo-bar.toml` cannot be used",
    ),
    (
        |person| {
            person.write(".github/workflows/run.yml", "on: push\n");
        },
        "`.github/workflows/run.yml` does not belong into an index",
    ),
];

#[test]
fn what_nobody_may_push_is_never_seen_and_a_revert_heals_it() {
    let (mut registry, token) = registry();
    let person = Person::of(&registry);
    let watch = Watch::begin(&registry, &WATCHED);
    let mut bad = Vec::new();
    let kinds = [Receive::Packed, Receive::Loose].into_iter().cycle();
    let verbs = ["yank", "unyank"].into_iter().cycle();
    for (((forbid, said), receive), verb) in FORBIDDEN.iter().zip(kinds).zip(verbs) {
        person.catch_up();
        forbid(&person);
        let commit = person.commit("what nobody may do");
        bad.push(commit.clone());
        person.push("HEAD:main", receive).succeeds();
        let reason = stands_still(&registry);
        assert!(
            reason.contains(&commit) && reason.contains(said),
            "{reason}"
        );
        refuses_to_write(&registry, &token, verb, &[&commit, said]);
        watch.round();
        let log = registry.log();
        let told = log.lines().filter(|line| line.contains(&commit));
        let told = told.filter(|line| line.contains("is not followed"));
        assert_eq!(told.count(), 1, "{log}");

        let healed = person.revert();
        person.push("HEAD:main", receive).succeeds();
        serves(&registry, &healed);
        yank(&registry, &token, verb).succeeds();
    }
    watch.saw_nothing_of(&registry, &bad);
    git::assert_sound(&registry.repository());
    registry.run(&["verify"]).succeeds();
    registry.knows_its_files();
}

/// Panics unless reads and `/healthz` go on, and what is written is refused with these words, however often.
#[track_caller]
fn refuses_to_write(registry: &Registry, token: &str, verb: &str, words: &[&str]) {
    for _ in 0..3 {
        let reply = yank(registry, token, verb);
        assert_eq!(reply.status, 503);
        let refusal = reply.refusal();
        assert!(words.iter().all(|word| refusal.contains(word)), "{refusal}");
    }
    let new = Release::new("new", "1.0.0").publish(registry.port, token);
    assert_eq!(new.status, 503, "{new:?}");
    get("/healthz").send(registry.port).succeeds();
    get(format!("/crates/index/{LINES}"))
        .send(registry.port)
        .succeeds();
}

#[test]
fn what_no_revert_heals_is_never_seen_and_the_refusal_names_the_way_back() {
    let (mut registry, token) = registry();
    let person = Person::of(&registry);
    let good = git::tip(&registry.repository());
    let watch = Watch::begin(&registry, &WATCHED);
    let rewound = |person: &Person| person.git(&["rev-parse", "HEAD^"]);
    let rewritten = |person: &Person| {
        person.git(&["checkout", "--quiet", "HEAD^"]);
        person
            .write("README.md", "another past\n")
            .commit("another past")
    };
    let begun_anew = |person: &Person| {
        person.git(&["checkout", "--quiet", "--orphan", "anew"]);
        person.commit("begin anew")
    };
    let sideways = |person: &Person| {
        person.git(&["checkout", "--quiet", "HEAD^"]);
        person.write("README.md", "work\n").commit("work");
        person.git(&["merge", "--quiet", "--no-edit", "origin/main"]);
        person.git(&["rev-parse", "HEAD"])
    };
    type Way<'a> = (&'a dyn Fn(&Person) -> String, &'a str);
    let forged = |person: &Person| person.commit_with_a_copied_signature();
    let ways: [Way<'_>; 5] = [
        (&rewound, "the branch was moved back from"),
        (&rewritten, "its history was rewritten"),
        (&begun_anew, "its history was rewritten"),
        (&sideways, "only as the merged side of a merge"),
        (&forged, "a signature of the registry that is not its own"),
    ];
    let mut bad = Vec::new();
    for (go, said) in ways {
        person.git(&["checkout", "--quiet", "--force", "--detach", &good]);
        let found = go(&person);
        bad.push(found.clone());
        person
            .push(&format!("{found}:main"), Receive::Packed)
            .succeeds();
        let reason = stands_still(&registry);
        let way_back = format!("`git update-ref refs/heads/main {good}`");
        let words = [way_back.as_str(), &found, said];
        assert!(words.iter().all(|word| reason.contains(word)), "{reason}");
        refuses_to_write(&registry, &token, "yank", &words);
        watch.round();
        // The very command.
        let repository = registry.repository();
        git::git(&repository, &["update-ref", "refs/heads/main", &good]).succeeds();
        serves(&registry, &good);
    }
    watch.saw_nothing_of(&registry, &bad);
    yank(&registry, &token, "yank").succeeds();
    registry.knows_its_files();
}

#[test]
fn a_bad_branch_is_not_followed_after_a_restart_either_and_heals_the_same_way() {
    let (mut registry, token) = registry();
    let person = Person::of(&registry);
    let good = git::tip(&registry.repository());
    let watch = Watch::begin(&registry, &WATCHED);
    person.replace("config.json", "localhost", "evil.localhost");
    let bad = person.commit("send everybody elsewhere");
    person.push("HEAD:main", Receive::Loose).succeeds();
    stands_still(&registry);
    for _ in 0..2 {
        registry.knows_its_files();
        registry.stop();
        registry.start_again();
        let reason = stands_still(&registry);
        assert!(reason.contains(&bad), "{reason}");
        assert_eq!(Clone::of(&registry).git(&["rev-parse", "HEAD"]), good);
        refuses_to_write(&registry, &token, "yank", &[&bad, "`config.json`"]);
        watch.round();
        registry.kill();
        registry.start_again();
    }
    let healed = person.revert();
    person.push("HEAD:main", Receive::Loose).succeeds();
    serves(&registry, &healed);
    yank(&registry, &token, "yank").succeeds();
    watch.saw_nothing_of(&registry, &[bad]);
    registry.knows_its_files();
}

#[test]
fn a_bad_merge_and_its_revert_in_one_push_pass() {
    let (mut registry, token) = registry();
    let person = Person::of(&registry);
    let watch = Watch::begin(&registry, &WATCHED);
    person.git(&["checkout", "--quiet", "-b", "bad"]);
    fs::remove_file(person.path().join(LINES)).unwrap();
    let deleted = person.commit("delete a crate");
    person.git(&["checkout", "--quiet", "main"]);
    person.git(&["merge", "--quiet", "--no-ff", "--no-edit", "bad"]);
    let merged = person.git(&["rev-parse", "HEAD"]);
    person.git(&["revert", "--no-edit", "-m", "1", "HEAD"]);
    let healed = person.git(&["rev-parse", "HEAD"]);
    // The hooks judge it alike.
    person.push("HEAD:main", Receive::AsSetUp).succeeds();
    serves(&registry, &healed);
    yank(&registry, &token, "yank").succeeds();
    watch.saw_nothing_of(&registry, &[deleted, merged]);
    registry.run(&["verify"]).succeeds();
    registry.knows_its_files();
}

#[test]
fn a_policy_holds_for_uploads_that_began_before_it() {
    let (registry, token) = registry();
    let upload = Release::new("slow", "1.0.0").begin(registry.port, &token);
    let person = Person::of(&registry);
    person.write("policy.toml", "[limits]\nentries_max = 1\n");
    let stricter = person.commit("smaller crates");
    person.push("HEAD:main", Receive::AsSetUp).succeeds();
    serves(&registry, &stricter);
    let refused = upload.finish();
    assert_eq!(refused.status, 400, "{refused:?}");
    let said = refused.refusal();
    assert!(said.contains("more than 1 "), "{said}");
}
