//! The index on a real forge in every trouble: what is answered, what the forge has, and that all heals by itself.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::api::{done, number as number_of, signature, text};
use super::between::{Between, Step, Trouble};
use super::gitea::Gitea;
use super::scene::{Repository, Token, User, Visibility};
use crate::cargo::faults::trouble::{self, Plan};
use crate::common::git::{self, git};
use crate::common::http::{Reply, Request, get, request};
use crate::common::metrics::Metrics;
use crate::common::ran::run;
use crate::common::registry::{Registry, Start};
use crate::common::tools;
use crate::common::upload::{Release, manifest, tarball};
use crate::common::watch::eventually;

/// What proves that an event is the forge's.
const HOOK_SECRET: &str = "the forge says it, nobody else";
/// How often a publish is tried that must succeed in the end.
const TRIES_MAX: usize = 20;
/// More than a test waits.
const NEVER: u64 = 3600;

/// A registry, its index on a forge, and trouble between the two.
struct Scene<'forge> {
    forge: &'forge Gitea,
    owner: User,
    robot: User,
    robot_token: Token,
    repository: Repository,
    between: Between,
    registry: Registry,
    /// Of somebody who publishes.
    token: String,
    folder: TempDir,
}

impl<'forge> Scene<'forge> {
    fn set(forge: &'forge Gitea, poll_secs: u64) -> Self {
        Self::set_with(forge, poll_secs, "")
    }

    /// With more settings.
    fn set_with(forge: &'forge Gitea, poll_secs: u64, more: &str) -> Self {
        let owner = forge.user("olga");
        let robot = forge.user("robot");
        let repository = forge.empty_repository(&owner.login, "crates", Visibility::Public);
        forge.collaborate(&repository, &robot, "write");
        let robot_token = forge.token(&robot, &["write:repository"]);
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("token"), &robot_token.text).unwrap();
        fs::write(folder.path().join("hook"), HOOK_SECRET).unwrap();
        let between = Between::start(forge.port);
        let config = format!(
            "[forge]\nurl = \"{}\"\nrepository = \"{}/crates\"\ntoken_file = \"{}\"\n\
             webhook_secret_file = \"{}\"\npoll_secs = {poll_secs}\n{more}",
            between.url(),
            owner.login,
            folder.path().join("token").display(),
            folder.path().join("hook").display(),
        );
        let registry = Registry::start_with(&config);
        let token = registry.token("alice");
        Self {
            forge,
            owner,
            robot,
            robot_token,
            repository,
            between,
            registry,
            token,
            folder,
        }
    }

    /// As somebody publishes who does not use Cargo.
    fn publish(&self, version: &str) -> Reply {
        Release::new("krate", version).publish(self.registry.port, &self.token)
    }

    /// Publishes what must be published in the end: a forge on a busy machine may be slower than is waited for.
    #[track_caller]
    fn lands(&self, version: &str) {
        let mut reply = self.publish(version);
        let mut tries = 1;
        while reply.status == 503 && tries < TRIES_MAX {
            reply = self.publish(version);
            tries += 1;
        }
        let is_done = reply.status == 200 || tries > 1 && reply.status == 409;
        assert!(is_done, "{reply:?}");
    }

    /// Publishes, and gives why that is answered with 503.
    #[track_caller]
    fn cannot(&self, version: &str) -> String {
        let reply = self.publish(version);
        assert_eq!(reply.status, 503, "{reply:?}");
        reply.refusal()
    }

    /// The bare repository of the forge.
    fn git_dir(&self) -> PathBuf {
        let Repository { owner, name, .. } = &self.repository;
        let repositories = self.forge.folder().join("data/gitea-repositories");
        repositories.join(format!("{owner}/{name}.git"))
    }

    /// Runs git in the forge's repository, which must succeed.
    #[track_caller]
    fn on_forge(&self, words: &[&str]) -> String {
        let ran = git(&self.git_dir(), words).succeeds();
        ran.stdout.trim_end().to_owned()
    }

    /// The commit at the tip of the forge's branch.
    #[track_caller]
    fn tip(&self) -> String {
        git::tip(&self.git_dir())
    }

    /// The commit at which the registry is.
    #[track_caller]
    fn here(&self) -> String {
        git::tip(&self.registry.repository())
    }

    /// What the sparse index has of the crate, a version a line.
    fn served(&self) -> Vec<String> {
        let reply = get("/crates/index/kr/at/krate")
            .token(&self.token)
            .send(self.registry.port);
        match reply.status {
            404 => Vec::new(),
            _ => versions(reply.succeeds().text()),
        }
    }

    fn ready(&self) -> Reply {
        get("/readyz").send(self.registry.port)
    }

    /// Waits until the registry says that it is not ready, and gives why.
    #[track_caller]
    fn stops(&self) -> String {
        eventually("it says that it is not ready", || {
            let ready = self.ready();
            (ready.status == 503).then(|| ready.refusal())
        })
    }

    /// Waits until the registry says that it only reads, and gives what it says.
    #[track_caller]
    fn reads_only(&self) -> String {
        eventually("it says that it only reads", || {
            let ready = self.ready().succeeds().text().to_owned();
            ready.contains("nothing is written").then_some(ready)
        })
    }

    /// Waits until nothing is wrong any more.
    #[track_caller]
    fn heals(&self) {
        eventually("it is good again", || {
            (self.ready().text() == "ok\n").then_some(())
        });
    }

    /// Panics unless in the end exactly these versions are served, which the forge has and in this order, each by one
    /// commit, and unless the registry's own proof holds.
    #[track_caller]
    fn settles(&self, expected: &[&str]) {
        eventually("the registry is where the forge is", || {
            (self.here() == self.tip()).then_some(())
        });
        eventually("the registry serves what the forge has", || {
            (self.served() == expected).then_some(())
        });
        let file = self.on_forge(&["show", "main:kr/at/krate"]);
        assert_eq!(versions(&file), expected);
        let merges = ["rev-list", "--count", "--min-parents=2", "main"];
        assert_eq!(self.on_forge(&merges), "0");
        let log = self.on_forge(&["log", "--reverse", "--format=%s", "main"]);
        let published: Vec<&str> = log
            .lines()
            .filter_map(|subject| subject.strip_prefix("publish krate "))
            .collect();
        assert_eq!(published, expected);
        self.registry.run(&["verify"]).succeeds();
        git::assert_sound(&self.git_dir());
    }

    /// A clone of the forge's repository whose owner may push.
    fn clone(&self) -> Clone {
        let token = self.forge.token(&self.owner, &["write:repository"]).text;
        let Repository { owner, name, .. } = &self.repository;
        let (login, port) = (&self.owner.login, self.forge.port);
        let url = format!("http://{login}:{token}@127.0.0.1:{port}/{owner}/{name}.git");
        let folder = TempDir::new().unwrap();
        git(folder.path(), &["clone", "--quiet", &url, "clone"]).succeeds();
        Clone(folder)
    }

    /// What the forge shows of our judgement of a commit: in a word, and in a sentence.
    fn status_of(&self, commit: &str) -> (String, String) {
        eventually("the forge is told", || {
            let path = format!("{}/commits/{commit}/status", self.repository.api());
            let shown = self.forge.admin().read(&path);
            let status = shown["statuses"].as_array()?.first()?.clone();
            Some((text(&status, "status"), text(&status, "description")))
        })
    }

    /// Asks to merge the branch; gives the pull request's number.
    #[track_caller]
    fn propose(&self, branch: &str) -> i64 {
        let token = self.forge.token(&self.owner, &["all"]).text;
        let owner = self.forge.with_token(&token);
        owner.open_pull_request(&self.repository, branch)
    }

    /// Why a pull request with this commit at its end is refused, once the registry was told of it.
    #[track_caller]
    fn refusal_of(&self, number: i64, head: &str) -> String {
        event("pull_request", HOOK_SECRET, &pull_request(number, head))
            .send(self.registry.port)
            .succeeds();
        let (state, why) = self.status_of(head);
        assert_eq!(state, "failure", "{why}");
        why
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }
}

/// Of somebody who works with git.
struct Clone(TempDir);

impl Clone {
    #[track_caller]
    fn git(&self, words: &[&str]) -> String {
        let who = ["-c", "user.name=Bob", "-c", "user.email=bob@example.com"];
        let ran = git(
            &self.0.path().join("clone"),
            &[who.as_slice(), words].concat(),
        );
        ran.succeeds().stdout.trim_end().to_owned()
    }

    /// Commits the file with `from` replaced by `to`, and gives the commit.
    #[track_caller]
    fn edit(&self, path: &str, from: &str, to: &str) -> String {
        let file = self.0.path().join("clone").join(path);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        self.git(&["commit", "--quiet", "--all", "-m", "edit by hand"]);
        self.git(&["rev-parse", "HEAD"])
    }
}

fn versions(index_file: &str) -> Vec<String> {
    let version = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        text(&line, "vers")
    };
    index_file.lines().map(version).collect()
}

#[test]
fn a_push_that_is_cut_is_never_guessed_at() {
    let Some(forge) = Gitea::shared() else { return };
    // The answer that a proxy makes does not tell whether the forge has heard it.
    let lost = [Trouble::CutBefore, Trouble::CutMidway, Trouble::Answer(503)];
    let each = |trouble: Trouble| {
        let scene = Scene::set(forge, NEVER);
        scene.lands("0.1.0");
        let before = scene.tip();
        scene.between.next(Step::Push, &[trouble]);
        let why = scene.cannot("0.2.0");
        assert!(why.contains("it is not known"), "{trouble:?}: {why}");
        assert_eq!(scene.tip(), before, "{trouble:?}");
        assert_eq!(scene.here(), before);
        assert_eq!(scene.served(), ["0.1.0"]);
        scene.lands("0.2.0");
        scene.settles(&["0.1.0", "0.2.0"]);
    };
    // Each is looked for for five seconds.
    thread::scope(|scope| {
        for trouble in lost {
            scope.spawn(move || each(trouble));
        }
    });
}

#[test]
fn a_push_whose_answer_is_lost_is_acknowledged_once_it_is_found() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge, NEVER);
    for (trouble, version) in [
        (Trouble::CutAfter, "0.1.0"),
        (Trouble::CutAnswer, "0.2.0"),
        // As a proxy answers that does not like what the forge said, or did not wait for it.
        (Trouble::AnswerAfter(200), "0.3.0"),
        (Trouble::AnswerAfter(403), "0.4.0"),
        (Trouble::AnswerAfter(408), "0.5.0"),
    ] {
        scene.between.next(Step::Push, &[trouble]);
        let pushes = scene.between.seen(Step::Push);
        scene.publish(version).succeeds();
        let again = scene.between.seen(Step::Push) - pushes;
        assert_eq!(again, 1, "it is not sent again");
    }
    scene.settles(&["0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0"]);
}

#[test]
fn a_push_of_which_nothing_is_heard_is_found_once_the_forge_answers() {
    let Some(forge) = Gitea::shared() else { return };
    let mut scene = Scene::set(forge, NEVER);
    scene.lands("0.1.0");
    let before = scene.here();
    // The forge takes it, and is away from then on.
    scene.between.next(Step::Push, &[Trouble::CutAfter]);
    scene.between.always(Step::Look, Some(Trouble::CutBefore));
    let why = scene.cannot("0.2.0");
    assert!(why.contains("it is not known"), "{why}");
    assert_ne!(scene.tip(), before);
    assert_eq!(
        (scene.here(), scene.served()),
        (before, vec!["0.1.0".to_owned()])
    );
    let told = scene.reads_only();
    assert!(told.contains("the forge cannot be reached"), "{told}");
    // A start needs no forge.
    scene.registry.kill();
    scene.registry.start_again();
    assert_eq!(scene.served(), ["0.1.0"]);
    scene.between.always(Step::Look, None);
    eventually("what the forge took is served", || {
        (scene.served() == ["0.1.0", "0.2.0"]).then_some(())
    });
    let again = scene.publish("0.2.0");
    assert_eq!(again.status, 409, "{again:?}");
    scene.settles(&["0.1.0", "0.2.0"]);
}

#[test]
fn what_is_new_on_the_forge_and_does_not_come_whole_is_fetched_again() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge, 1);
    scene.lands("0.1.0");
    let good = scene.here();
    let clone = scene.clone();
    for trouble in [Trouble::CutAnswer, Trouble::CutBefore, Trouble::Answer(503)] {
        scene.between.always(Step::Fetch, Some(trouble));
        clone.git(&["commit", "--quiet", "--allow-empty", "-m", "nothing"]);
        clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
        let why = scene.stops();
        assert!(
            why.contains("git fails on the commits of the forge"),
            "{why}"
        );
        scene.cannot("0.2.0");
        assert_ne!(scene.here(), scene.tip());
        scene.between.always(Step::Fetch, None);
        eventually("it is good again", || {
            (scene.here() == scene.tip()).then_some(())
        });
    }
    assert_ne!(scene.here(), good);
    let packs = fs::read_dir(scene.registry.repository().join("objects/pack")).unwrap();
    let names = packs.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = names.filter(|name| name.starts_with("tmp_")).collect();
    assert!(left.is_empty(), "{left:?}");
    scene.lands("0.2.0");
    scene.settles(&["0.1.0", "0.2.0"]);
}

#[test]
fn a_push_that_outlives_its_server_is_taken_once_or_not_at_all() {
    let Some(forge) = Gitea::shared() else { return };
    let mut scene = Scene::set(forge, 1);
    scene.lands("0.1.0");
    let hold_and_kill = |scene: &mut Scene<'_>, version: &str| {
        scene.between.next(Step::Push, &[Trouble::Hold]);
        let (port, token) = (scene.registry.port, scene.token.clone());
        let release = Release::new("krate", version);
        let client = thread::spawn(move || release.request(&token).try_send(port).is_ok());
        scene.between.wait_until_held(1);
        scene.registry.kill();
        assert!(!client.join().unwrap(), "nobody acknowledged it");
    };
    // It comes to the forge before the next server does.
    hold_and_kill(&mut scene, "0.2.0");
    scene.between.let_go();
    scene.between.wait_until_none_is_held();
    scene.registry.start_again();
    scene.settles(&["0.1.0", "0.2.0"]);
    // It comes after the next server has pushed: then the branch is no longer where it was.
    hold_and_kill(&mut scene, "0.3.0");
    scene.registry.start_again();
    scene.lands("0.4.0");
    let tip = scene.tip();
    scene.between.let_go();
    scene.between.wait_until_none_is_held();
    assert_eq!(scene.tip(), tip);
    scene.settles(&["0.1.0", "0.2.0", "0.4.0"]);
    scene.lands("0.3.0");
    scene.settles(&["0.1.0", "0.2.0", "0.4.0", "0.3.0"]);
}

#[test]
fn a_server_that_is_killed_before_the_forge_took_that_it_is_closed_stays_so() {
    let Some(forge) = Gitea::shared() else { return };
    let mut scene = Scene::set(forge, NEVER);
    let anonymous = |registry: &Registry| {
        let config = get("/crates/index/config.json");
        config.send(registry.port).status
    };
    assert_eq!(anonymous(&scene.registry), 200);
    scene.registry.stop();
    forge.show(&scene.repository, Visibility::Private);
    scene.between.always(Step::Push, Some(Trouble::Hold));
    scene.registry.begin_again();
    scene.between.wait_until_held(1);
    scene.registry.kill();
    for step in [Step::Look, Step::Fetch, Step::Push, Step::Other] {
        scene.between.always(step, Some(Trouble::CutBefore));
    }
    scene.between.let_go();
    scene.registry.start_again();
    assert_eq!(anonymous(&scene.registry), 401);
}

#[test]
fn a_slow_forge_takes_what_was_given_up_or_does_not() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge, NEVER);
    scene.lands("0.1.0");
    scene.between.next(Step::Push, &[Trouble::Hold]);
    let why = scene.cannot("0.2.0");
    assert!(why.contains("it is not known"), "{why}");
    // Others are not held up by it, nor overtaken by what comes late.
    scene.lands("0.3.0");
    scene.between.let_go();
    scene.between.wait_until_none_is_held();
    scene.settles(&["0.1.0", "0.3.0"]);
}

#[test]
fn a_writer_that_waits_for_the_disk_is_told_from_one_that_waits_for_the_forge() {
    let Some(forge) = Gitea::shared() else { return };
    let Some(strace) = tools::strace_of_running() else {
        return;
    };
    let scene = Scene::set_with(forge, NEVER, "[http]\npublish_deadline_secs = 1\n");
    scene.lands("0.1.0");
    let hangs = Plan {
        inject: Some("fsync:delay_enter=600000000:when=1"),
        paths: &[],
    };
    let disk = trouble::Trouble::of_writer(&strace, &scene.registry, &hangs);
    scene.cannot("0.2.0");
    let why = eventually("it is not ready", || {
        let ready = scene.ready();
        (ready.status == 503).then(|| ready.refusal())
    });
    assert!(why.contains("it waits for the disk"), "{why}");
    drop(disk);
    eventually("the disk answers", || {
        (scene.ready().text() == "ok\n").then_some(())
    });
    scene.between.next(Step::Push, &[Trouble::Hold]);
    scene.cannot("0.3.0");
    let told = eventually("it says so", || {
        let ready = scene.ready().succeeds().text().to_owned();
        ready.contains("nothing is written").then_some(ready)
    });
    assert!(told.contains("it waits for the forge"), "{told}");
    scene.between.let_go();
    scene.between.wait_until_none_is_held();
}

#[test]
fn a_forge_that_does_not_say_where_its_branch_is_is_away() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge, NEVER);
    scene.lands("0.1.0");
    // Whoever does not say where the branch is, for eight seconds, is away; what is done already is looked for there.
    scene.between.next(Step::Look, &[Trouble::Hold]);
    let unyank = request("PUT", "/crates/api/v1/crates/krate/0.1.0/unyank").token(&scene.token);
    let refused = unyank.send(scene.registry.port);
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.refusal().contains("the forge cannot be reached"));
    scene.between.let_go();
    scene.lands("0.2.0");
    scene.settles(&["0.1.0", "0.2.0"]);
}

#[test]
fn a_forge_that_is_busy_stops_writes_and_is_waited_for() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge, 1);
    scene.lands("0.1.0");
    // Of a push that was turned away with 429 it is known that nothing was done.
    scene.between.next(Step::Push, &[Trouble::Answer(429)]);
    let why = scene.cannot("0.2.0");
    assert!(why.contains("the forge is busy (429"), "{why}");
    for status in [429, 503] {
        scene
            .between
            .always(Step::Look, Some(Trouble::Answer(status)));
        let told = scene.reads_only();
        assert!(told.contains(&format!("busy ({status}")), "{told}");
        let why = scene.cannot("0.2.0");
        assert!(why.contains(&format!("busy ({status}")), "{why}");
        assert_eq!(scene.served(), ["0.1.0"]);
        scene.between.always(Step::Look, None);
        scene.heals();
    }
    scene.lands("0.2.0");
    scene.settles(&["0.1.0", "0.2.0"]);
}

#[test]
fn of_a_group_only_what_is_too_large_for_a_proxy_is_refused() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge, NEVER);
    scene.lands("0.1.0");
    // What cannot be packed.
    let features: String = (0..200)
        .map(|number: u32| {
            let digits: String = Sha256::digest(number.to_le_bytes())
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            format!("f{} = []\n", &digits[..60])
        })
        .collect();
    let manifest = manifest("krate", "0.2.0") + "[features]\n" + &features;
    let files = [
        ("Cargo.toml", manifest.as_bytes()),
        ("src/lib.rs", b"".as_slice()),
    ];
    let large = Release {
        crate_file: tarball("krate", "0.2.0", &files),
        ..Release::new("krate", "0.2.0")
    };
    scene
        .between
        .always(Step::Push, Some(Trouble::AtMost(6000)));
    // While the first one is on its way, the others come together.
    scene.between.next(Step::Push, &[Trouble::Hold]);
    let (port, token) = (scene.registry.port, &scene.token);
    let replies: Vec<Reply> = thread::scope(|scope| {
        let first = scope.spawn(|| scene.publish("0.3.0"));
        scene.between.wait_until_held(1);
        let small = ["0.4.0", "0.5.0"].map(|version| {
            let release = Release::new("krate", version);
            scope.spawn(move || release.publish(port, token))
        });
        let large = scope.spawn(|| large.publish(port, token));
        eventually("all wait", || {
            let waiting = Metrics::of(&scene.registry).get("sidecargo_index_changes_waiting");
            (waiting == 4.0).then_some(())
        });
        scene.between.let_go();
        let all = [first].into_iter().chain(small).chain([large]);
        all.map(|client| client.join().unwrap()).collect()
    });
    let (large, small) = replies.split_last().unwrap();
    for reply in small {
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!(large.status, 403, "{large:?}");
    let why = large.refusal();
    assert!(
        why.contains("it is too large for the forge or a proxy before it a proxy says so"),
        "{why}"
    );
    let mut served = scene.served();
    served.sort();
    assert_eq!(served, ["0.1.0", "0.3.0", "0.4.0", "0.5.0"]);
    scene.between.always(Step::Push, None);
    let served = scene.served();
    scene.settles(&served.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_quota_and_a_protection_of_the_forge_are_told_in_its_words() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge, NEVER);
    scene.lands("0.1.0");
    let hook = scene.git_dir().join("hooks/pre-receive.d/quota");
    fs::write(
        &hook,
        "#!/bin/sh\nread old new ref\ngit log --format=%s $old..$new >&2\n\
         echo 'the quota of this repository is used up' >&2\nexit 1\n",
    )
    .unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    // What it repeats of the commit is none of the forge's words.
    let refused = scene.publish("0.2.0-archived");
    assert_eq!(refused.status, 403, "{refused:?}");
    let why = refused.refusal();
    assert!(
        why.contains("0.2.0-archived the quota of this repository is used up"),
        "{why}"
    );
    // Perhaps it refuses all: whoever watches is told.
    let told = scene.ready().succeeds().text().to_owned();
    assert!(
        told.contains("nothing is written")
            && told.contains("the quota of this repository is used up"),
        "{told}"
    );
    let unpushed = || Metrics::of(&scene.registry).get("sidecargo_index_unpushed");
    assert_eq!(unpushed(), 1.0);
    fs::remove_file(&hook).unwrap();
    // Whoever may not push at all is told so as a matter of the server.
    let rule = json!({ "enable_push": true, "enable_push_whitelist": true, "push_whitelist_usernames": [] });
    forge.protect(&scene.repository, rule);
    let why = scene.cannot("0.2.0");
    assert!(
        why.contains("Not allowed to push to protected branch main"),
        "{why}"
    );
    assert_eq!(
        (scene.here(), scene.served()),
        (scene.tip(), vec!["0.1.0".to_owned()])
    );
    let rule = json!({ "enable_push": true, "enable_push_whitelist": true, "push_whitelist_usernames": [scene.robot.login] });
    let path = format!("{}/branch_protections/main", scene.repository.api());
    done(forge.admin().send("PATCH", &path, &rule), 200);
    scene.lands("0.2.0");
    assert_eq!((scene.ready().text(), unpushed()), ("ok\n", 0.0));
    scene.settles(&["0.1.0", "0.2.0"]);
}

#[test]
fn a_lock_that_somebody_left_at_the_forge_is_no_fault_of_what_is_published() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge, NEVER);
    scene.lands("0.1.0");
    let git_dir = scene.git_dir();
    let lock = git_dir.join("refs/heads/main.lock");
    fs::write(&lock, "").unwrap();
    let why = scene.cannot("0.2.0");
    assert!(why.contains("cannot lock ref"), "{why}");
    // Where the forge keeps it is for those who run it.
    let path = git_dir.file_name().unwrap().to_str().unwrap();
    assert!(!why.contains(path), "{why}");
    assert!(scene.registry.log().contains(path));
    let told = scene.ready().succeeds().text().to_owned();
    assert!(told.contains("cannot lock ref"), "{told}");
    // One that goes in time is not noticed.
    let pushes = scene.between.seen(Step::Push);
    thread::scope(|scope| {
        let publish = scope.spawn(|| scene.lands("0.2.0"));
        eventually("it is tried again", || {
            (scene.between.seen(Step::Push) >= pushes + 2).then_some(())
        });
        fs::remove_file(&lock).unwrap();
        publish.join().unwrap();
    });
    assert_eq!(scene.ready().text(), "ok\n");
    scene.settles(&["0.1.0", "0.2.0"]);
}

#[test]
fn a_protection_that_wants_keys_which_the_forge_does_not_trust_stops_writes() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge, NEVER);
    scene.lands("0.1.0");
    let rule = json!({
        "enable_push": true,
        "enable_push_whitelist": true,
        "push_whitelist_usernames": [scene.robot.login],
        "require_signed_commits": true,
    });
    forge.protect(&scene.repository, rule);
    scene.cannot("0.2.0");
    let told = scene.ready().succeeds().text().to_owned();
    assert!(told.contains("nothing is written: so it was"), "{told}");
    // The second is what it means to say.
    let words = ["Internal Server Error", "protected from unverified commit"];
    assert!(words.iter().any(|words| told.contains(words)), "{told}");
    let path = format!("{}/branch_protections/main", scene.repository.api());
    let unsigned = json!({ "require_signed_commits": false });
    done(forge.admin().send("PATCH", &path, &unsigned), 200);
    scene.lands("0.2.0");
    scene.settles(&["0.1.0", "0.2.0"]);
}

#[test]
fn a_push_that_lost_a_race_is_judged_again_also_if_the_forge_does_not_say_at_once_that_it_did() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge, NEVER);
    scene.lands("0.1.0");
    let clone = scene.clone();
    scene.between.next(Step::Push, &[Trouble::Hold]);
    thread::scope(|scope| {
        let publish = scope.spawn(|| scene.publish("0.2.0"));
        scene.between.wait_until_held(1);
        clone.edit("kr/at/krate", "\"yanked\":false", "\"yanked\":true");
        clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
        scene.between.next(Step::Look, &[Trouble::CutBefore]);
        scene.between.let_go();
        publish.join().unwrap().succeeds();
    });
    scene.settles(&["0.1.0", "0.2.0"]);
}

#[test]
fn an_owner_with_another_name_is_found_also_after_a_restart() {
    let Some(forge) = Gitea::shared() else { return };
    let mut scene = Scene::set(forge, NEVER);
    scene.lands("0.1.0");
    let renamed = forge.rename_user(&scene.owner, "olivia");
    scene.repository.owner = renamed.login.clone();
    scene.owner = renamed;
    scene.lands("0.2.0");
    scene.registry.kill();
    scene.registry.start_again();
    // What is new is fetched from there, too.
    let clone = scene.clone();
    clone.edit("kr/at/krate", "\"yanked\":false", "\"yanked\":true");
    clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
    let published = scene.publish("0.1.0");
    assert_eq!(published.status, 409, "{published:?}");
    assert_eq!(scene.here(), scene.tip());
    let log = scene.registry.log();
    assert!(
        log.contains("was renamed on the forge; change `forge.repository`"),
        "{log}"
    );
    scene.settles(&["0.1.0", "0.2.0"]);
}

#[test]
fn a_branch_that_is_rolled_back_or_rewritten_is_not_followed_until_it_is_put_back() {
    let Some(forge) = Gitea::shared() else { return };
    let mut scene = Scene::set(forge, 1);
    scene.lands("0.1.0");
    scene.lands("0.2.0");
    let good = scene.tip();
    let clone = scene.clone();
    let push = |what: &str| clone.git(&["push", "--quiet", "--force", "origin", what]);
    clone.git(&["checkout", "--quiet", "--detach", "HEAD~1"]);
    let rewritten = clone.edit("kr/at/krate", "\"yanked\":false", "\"yanked\":true");
    for (bad, is_behind) in [("origin/main~1", true), (rewritten.as_str(), false)] {
        push(&format!("{bad}:refs/heads/main"));
        let why = scene.stops();
        assert!(why.contains(&good) || why.contains(&scene.tip()), "{why}");
        // Also after a restart.
        scene.registry.kill();
        scene.registry.start_again();
        assert_eq!(
            scene.cannot("0.3.0"),
            format!("the registry cannot write now: {why}; nothing was done, try again later")
        );
        assert_eq!(
            (scene.here(), scene.served()),
            (good.clone(), vec!["0.1.0".to_owned(), "0.2.0".to_owned()])
        );
        // As OPERATIONS.md has it: from the server's own copy.
        push_copy(&scene, &clone, is_behind);
        scene.heals();
    }
    scene.lands("0.3.0");
    scene.settles(&["0.1.0", "0.2.0", "0.3.0"]);
}

#[test]
fn a_person_adopts_the_branch_that_was_rewritten() {
    let Some(forge) = Gitea::shared() else { return };
    let mut scene = Scene::set(forge, 1);
    let rule = json!({
        "enable_push": true,
        "enable_push_whitelist": true,
        "push_whitelist_usernames": [scene.robot.login],
    });
    forge.protect(&scene.repository, rule.clone());
    scene.lands("0.1.0");
    scene.lands("0.2.0");
    let clone = scene.clone();
    clone.git(&["checkout", "--quiet", "--detach", "HEAD~1"]);
    let rewritten = clone.edit("kr/at/krate", "\"yanked\":false", "\"yanked\":true");
    let path = format!("{}/branch_protections/main", scene.repository.api());
    let lifted = forge.admin().send("DELETE", &path, &json!(null));
    assert_eq!(lifted.status, 204, "{lifted:?}");
    clone.git(&["push", "--quiet", "--force", "origin", "HEAD:main"]);
    forge.protect(&scene.repository, rule);
    let why = eventually("writes stop", || {
        let ready = scene.ready();
        (ready.status == 503).then(|| ready.refusal())
    });
    assert!(
        why.contains(&rewritten) && why.contains("OPERATIONS.md"),
        "{why}"
    );
    // As OPERATIONS.md has it.
    let (data, before) = (
        scene.registry.data(),
        scene.folder.path().join("before.git"),
    );
    scene.registry.stop();
    let mut moving = Command::new("mv");
    moving.args([&data.join("index.git"), &before]);
    run(&mut moving, b"").succeeds();
    scene.registry.start_again();
    // Who might read what is gone is not known, so the forge must say it for a minute.
    let config = get("/crates/index/config.json").send(scene.registry.port);
    assert_eq!(config.status, 401, "{config:?}");
    assert!(data.join("closed").exists());
    scene.registry.run(&["verify"]).succeeds();
    let adopted = data.join("index.git");
    git(&before, &["fetch", adopted.to_str().unwrap(), "main"]).succeeds();
    let gone = git(&before, &["log", "--format=%s", "FETCH_HEAD..main"]).succeeds();
    assert_eq!(gone.stdout, "publish krate 0.2.0\n");

    assert_eq!(scene.ready().text(), "ok\n");
    assert_eq!((scene.here(), scene.tip()), (rewritten.clone(), rewritten));
    assert_eq!(scene.served(), ["0.1.0"]);
    // Also what is gone can be published again.
    scene.lands("0.2.0");
    scene.settles(&["0.1.0", "0.2.0"]);
}

/// Pushes the branch of the server's own copy to the forge.
#[track_caller]
fn push_copy(scene: &Scene<'_>, clone: &Clone, is_behind: bool) {
    let url = clone.git(&["remote", "get-url", "origin"]);
    let branch = match is_behind {
        true => "refs/heads/main",
        false => "+refs/heads/main",
    };
    let words = ["push", "--quiet", &url, branch];
    git(&scene.registry.repository(), &words).succeeds();
}

#[test]
fn a_commit_that_breaks_the_rule_stops_writes_until_it_is_reverted() {
    let Some(forge) = Gitea::shared() else { return };
    let mut scene = Scene::set(forge, 1);
    scene.lands("0.1.0");
    let good = scene.here();
    let clone = scene.clone();
    let bad = clone.edit("kr/at/krate", "\"cksum\":\"", "\"cksum\":\"0");
    clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
    let why = scene.stops();
    assert!(
        why.contains("breaks a rule of the index") && why.contains(&bad),
        "{why}"
    );
    scene.cannot("0.2.0");
    assert_eq!(
        (scene.here(), scene.served()),
        (good.clone(), vec!["0.1.0".to_owned()])
    );
    scene.registry.kill();
    scene.registry.start_again();
    assert_eq!(
        (scene.here(), scene.served()),
        (good, vec!["0.1.0".to_owned()])
    );
    clone.git(&["revert", "--no-edit", "HEAD"]);
    clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
    scene.lands("0.2.0");
    scene.settles(&["0.1.0", "0.2.0"]);
}

#[test]
fn a_token_that_is_revoked_in_mid_flight_is_replaced_without_a_restart() {
    let Some(forge) = Gitea::shared() else { return };
    let mut scene = Scene::set(forge, 1);
    scene.lands("0.1.0");
    scene.between.next(Step::Push, &[Trouble::Hold]);
    thread::scope(|scope| {
        let publish = scope.spawn(|| scene.cannot("0.2.0"));
        scene.between.wait_until_held(1);
        forge.delete_token(&scene.robot, &scene.robot_token);
        scene.between.let_go();
        let why = publish.join().unwrap();
        assert!(why.contains("401 Unauthorized"), "{why}");
    });
    let why = scene.stops();
    assert!(
        why.contains("does not let this server at its index repository: 401"),
        "{why}"
    );
    assert_eq!(scene.served(), ["0.1.0"]);
    // A file that cannot be read is named for the operator alone.
    let file = scene.token_file();
    fs::remove_file(&file).unwrap();
    let why = eventually("it says what is wrong now", || {
        let ready = scene.ready();
        assert_eq!(ready.status, 503, "{ready:?}");
        let why = ready.refusal();
        why.contains("token for the forge cannot be read")
            .then_some(why)
    });
    let path = file.to_str().unwrap();
    assert!(!why.contains(path), "{why}");
    let why = scene.cannot("0.2.0");
    assert!(
        why.contains("token for the forge cannot be read") && !why.contains(path),
        "{why}"
    );
    let log = scene.registry.log();
    assert!(log.contains(path), "{log}");
    // Also after a start, when nobody has said yet whose the name of the index repository is.
    scene.registry.stop();
    scene.registry.start_again();
    let why = eventually("it says so again", || {
        let ready = scene.ready();
        (ready.status == 503).then(|| ready.refusal())
    });
    assert!(
        why.contains("token for the forge cannot be read") && !why.contains(path),
        "{why}"
    );
    let another = forge.token(&scene.robot, &["write:repository"]).text;
    fs::write(&file, &another).unwrap();
    scene.lands("0.2.0");
    for secret in [&another, &scene.robot_token.text] {
        assert!(
            !scene.registry.log().contains(secret.as_str()),
            "a token is in the log"
        );
    }
    scene.settles(&["0.1.0", "0.2.0"]);
}

/// An event as the forge sends it, signed with this secret.
pub fn event(kind: &str, secret: &str, body: &str) -> Request {
    request("POST", "/crates/webhook")
        .header("X-GitHub-Event", kind)
        .header("X-Hub-Signature-256", &signature(secret, body.as_bytes()))
        .header("Content-Type", "application/json")
        .body(body)
}

/// An event of a pull request that was opened.
pub fn pull_request(number: i64, head: &str) -> String {
    let side = |name: &str| json!({ "ref": name, "sha": head });
    let sides = json!({ "head": side("x"), "base": side("main") });
    json!({ "action": "opened", "number": number, "pull_request": sides }).to_string()
}

#[test]
fn events_that_are_forged_replayed_late_or_out_of_order_do_no_harm() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge, NEVER);
    scene.lands("0.1.0");
    let port = scene.registry.port;
    let clone = scene.clone();
    let commits: Vec<String> = [("false", "true"), ("true", "false"), ("false", "true")]
        .iter()
        .map(|(from, to)| {
            clone.edit(
                "kr/at/krate",
                &format!("\"yanked\":{from}"),
                &format!("\"yanked\":{to}"),
            )
        })
        .collect();
    clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
    let looks = scene.between.seen(Step::Look);
    let pushed = |before: &str, after: &str| {
        json!({ "ref": "refs/heads/main", "before": before, "after": after }).to_string()
    };
    let body = pushed(&commits[0], &commits[1]);
    // Somebody else's, and one whose body was changed on its way.
    let forged = event("push", "another secret of somebody", &body);
    let changed = event("push", HOOK_SECRET, &body).body(pushed(&commits[1], &commits[2]));
    for request in [forged, changed] {
        let reply = request.send(port);
        assert_eq!(reply.status, 401, "{reply:?}");
    }
    assert_eq!(
        scene.between.seen(Step::Look),
        looks,
        "nothing is done for a stranger"
    );
    assert_ne!(scene.here(), commits[2]);
    // One of the second commit tells of the third.
    event("push", HOOK_SECRET, &body).send(port).succeeds();
    assert_eq!(
        (scene.here(), scene.tip()),
        (commits[2].clone(), commits[2].clone())
    );
    // Then one of the first, the same again, one of a branch that never was, and one of a commit that never was.
    let nothing = "0".repeat(40);
    let gone =
        json!({ "ref": "refs/heads/main", "before": commits[2], "after": nothing }).to_string();
    for body in [
        &pushed(&nothing, &commits[0]),
        &body,
        &body,
        &gone,
        "{}",
        "no JSON",
    ] {
        event("push", HOOK_SECRET, body).send(port).succeeds();
        assert_eq!(scene.here(), commits[2]);
    }
    // Events of pull requests that are not there, or no longer what they were, tell the forge nothing that is wrong.
    let event_of_none = event("pull_request", HOOK_SECRET, &pull_request(77, &commits[0]));
    let told = event_of_none.send(port).succeeds();
    let of_event = told.header("x-request-id").unwrap();
    let odd = event("pull_request", HOOK_SECRET, "{}").send(port);
    assert_eq!(odd.status, 400, "{odd:?}");
    let (told, _) = scene.status_of(&commits[0]);
    assert_eq!(told, "error");
    // What comes of an event has the id of its request.
    let log = scene.registry.log();
    let is_of_event = |line: &str| line.contains("was judged") && line.contains(of_event);
    assert!(log.lines().any(is_of_event), "{of_event}: {log}");
    scene.lands("0.2.0");
    let subjects = scene.on_forge(&["log", "--format=%s", "-4", "main"]);
    assert_eq!(
        subjects,
        "publish krate 0.2.0\nedit by hand\nedit by hand\nedit by hand"
    );
    scene.settles(&["0.1.0", "0.2.0"]);
}

#[test]
fn a_pull_request_that_would_fill_the_disk_is_not_taken() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge, NEVER);
    scene.lands("0.1.0");
    let clone = scene.clone();
    let mut noise = vec![0; 65 << 20];
    getrandom::fill(&mut noise).unwrap();
    fs::write(clone.0.path().join("clone/noise"), noise).unwrap();
    clone.git(&["config", "core.compression", "0"]);
    clone.git(&["add", "noise"]);
    clone.git(&["commit", "--quiet", "-m", "noise"]);
    let head = clone.git(&["rev-parse", "HEAD"]);
    clone.git(&["push", "--quiet", "origin", "HEAD:large"]);
    let number = scene.propose("large");
    assert_eq!(
        scene.refusal_of(number, &head),
        "it brings more than 67108864 bytes, so it is not looked at"
    );
    assert!(!scene.registry.repository().join("review").exists());
    scene.lands("0.2.0");
    scene.settles(&["0.1.0", "0.2.0"]);
}

#[test]
fn what_is_judged_while_the_branch_moves_is_judged_again_before_it_is_called_good() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge, 1);
    scene.lands("0.1.0");
    let clone = scene.clone();
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", "change"]);
    let head = clone.git(&["rev-parse", "HEAD"]);
    clone.git(&["push", "--quiet", "origin", "HEAD:other"]);
    let number = scene.propose("other");
    scene.between.next(Step::Fetch, &[Trouble::Hold]);
    event("pull_request", HOOK_SECRET, &pull_request(number, &head))
        .send(scene.registry.port)
        .succeeds();
    scene.between.wait_until_held(1);
    clone.git(&["checkout", "--quiet", "--detach", "origin/main"]);
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", "another change"]);
    let moved = clone.git(&["rev-parse", "HEAD"]);
    clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
    eventually("the branch is another", || {
        let log = scene.registry.log();
        let is_so = |line: &str| line.contains("the tip moved") && line.contains(&moved);
        log.lines().any(is_so).then_some(())
    });
    scene.between.let_go();
    let path = format!("{}/commits/{head}/statuses", scene.repository.api());
    let said = eventually("it is good", || {
        let all = forge.admin().read(&path);
        let all = all.as_array()?.iter();
        let mut said: Vec<_> = all
            .map(|said| (number_of(said, "id"), text(said, "status")))
            .collect();
        said.sort_unstable();
        let said: Vec<_> = said.into_iter().map(|(_, state)| state).collect();
        (said.last()? == "success").then_some(said)
    });
    assert_eq!(said, ["pending", "success"]);
    scene.settles(&["0.1.0"]);
}

#[test]
fn what_was_good_is_taken_back_also_while_the_forge_does_not_tell_what_is_open() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge, 1);
    scene.lands("0.1.0");
    let clone = scene.clone();
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", "change"]);
    let head = clone.git(&["rev-parse", "HEAD"]);
    clone.git(&["push", "--quiet", "origin", "HEAD:other"]);
    let number = scene.propose("other");
    event("pull_request", HOOK_SECRET, &pull_request(number, &head))
        .send(scene.registry.port)
        .succeeds();
    let path = format!("{}/commits/{head}/status", scene.repository.api());
    let is_said = |state: &str| {
        eventually(state, || {
            (text(&forge.admin().read(&path), "state") == state).then_some(())
        });
    };
    is_said("success");
    scene.between.always(Step::List, Some(Trouble::Answer(500)));
    clone.git(&["checkout", "--quiet", "--detach", "origin/main"]);
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", "another change"]);
    clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
    is_said("pending");
    scene.between.always(Step::List, None);
    scene.settles(&["0.1.0"]);
}

#[test]
fn a_pull_request_that_has_nothing_in_common_with_the_index_is_told_so_once() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge, NEVER);
    scene.lands("0.1.0");
    let clone = scene.clone();
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", "change"]);
    clone.git(&["push", "--quiet", "origin", "HEAD:other"]);
    let number = scene.propose("other");
    clone.git(&["checkout", "--quiet", "--orphan", "alone"]);
    clone.git(&["commit", "--quiet", "-m", "alone"]);
    let head = clone.git(&["rev-parse", "HEAD"]);
    clone.git(&["push", "--quiet", "--force", "origin", "HEAD:other"]);
    let why = scene.refusal_of(number, &head);
    assert!(why.contains("does not merge"), "{why}");
    scene.settles(&["0.1.0"]);
}

#[test]
fn a_forge_whose_certificate_only_this_server_trusts_is_pushed_to_and_fetched_from() {
    let Some(forge) = Gitea::shared() else { return };
    let Some(nginx) = tools::nginx() else { return };
    let Some(openssl) = tools::openssl() else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let mut made = Command::new(openssl);
    made.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
    ])
    .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
    .args(["-addext", "subjectAltName=DNS:localhost"])
    .args(["-addext", "basicConstraints=critical,CA:FALSE"])
    .args(["-keyout", "key.pem", "-out", "cert.pem"])
    .current_dir(folder.path());
    run(&mut made, b"").succeeds();
    let tls = Nginx::start(&nginx, folder.path(), forge.port);
    let scene = Scene::set(forge, NEVER);
    scene.lands("0.1.0");
    let certificate = format!("SSL_CERT_FILE={}", folder.path().join("cert.pem").display());
    let config = format!(
        "[forge]\nurl = \"https://localhost:{}\"\nrepository = \"{}/crates\"\ntoken_file = \"{}\"\n",
        tls.port,
        scene.owner.login,
        scene.token_file().display(),
    );
    let shared = scene.registry.data();
    let registry = Registry::start_so(Start {
        config: &config,
        runner: &["/usr/bin/env", &certificate],
        shared: Some(&shared),
    });
    Release::new("krate", "0.2.0")
        .publish(registry.port, &scene.token)
        .succeeds();
    scene.lands("0.3.0");
    // That one it has to fetch first.
    Release::new("krate", "0.4.0")
        .publish(registry.port, &scene.token)
        .succeeds();
    assert_eq!(git::tip(&registry.repository()), scene.tip());
    let again = scene.publish("0.4.0");
    assert_eq!(again.status, 409, "{again:?}");
    scene.settles(&["0.1.0", "0.2.0", "0.3.0", "0.4.0"]);
}

#[test]
fn a_proxy_that_the_environment_names_hears_nothing() {
    let Some(forge) = Gitea::shared() else { return };
    let mut scene = Scene::set(forge, NEVER);
    let proxy = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    proxy.set_nonblocking(true).unwrap();
    let address = format!("http_proxy=http://{}", proxy.local_addr().unwrap());
    scene.registry.stop();
    let runner = ["/usr/bin/env", "no_proxy=", "NO_PROXY=", &address];
    scene.registry.start_again_under(&runner);
    let heard = || proxy.accept().map_err(|fault| fault.kind());
    assert_eq!(heard().unwrap_err(), ErrorKind::WouldBlock);
    scene.lands("0.1.0");
    assert_eq!(heard().unwrap_err(), ErrorKind::WouldBlock);
    scene.settles(&["0.1.0"]);
}

/// A proxy with TLS before the forge.
struct Nginx {
    port: u16,
    process: Child,
}

impl Nginx {
    fn start(program: &Path, folder: &Path, forge: u16) -> Self {
        let port = TcpListener::bind(("127.0.0.1", 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error;\nevents {{}}\nhttp {{\naccess_log off;\n\
             client_body_temp_path {folder}/body;\nproxy_temp_path {folder}/proxy;\nfastcgi_temp_path {folder}/f;\n\
             uwsgi_temp_path {folder}/u;\nscgi_temp_path {folder}/s;\nserver {{\nlisten 127.0.0.1:{port} ssl;\n\
             ssl_certificate {folder}/cert.pem;\nssl_certificate_key {folder}/key.pem;\n\
             location / {{ proxy_pass http://127.0.0.1:{forge}; }}\n}}\n}}\n",
            folder = folder.display(),
        );
        let config = folder.join("nginx.conf");
        fs::write(&config, text).unwrap();
        // Its input is closed when this process is gone, however it goes.
        let guard = "\"$1\" -c \"$2\" -p \"$3\" & read -r _; kill -KILL $!; wait";
        let process = Command::new("sh")
            .args(["-c", guard, "guard"])
            .args([program, &config, folder])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let nginx = Self { port, process };
        eventually("nginx listens", || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
