//! Jobs of the forge's CI that publish with their own token.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::api::{done, number};
use super::beside::{Beside, DEVELOPER, Wanted, publish};
use super::checkout::Checkout;
use super::gitea::Gitea;
use super::runner::{Job, Runner, workflow};
use super::scene::{Repository, User, Visibility};
use crate::common::http::{Reply, request};
use crate::common::upload::{Release, manifest, tarball};

/// The workflow that people copy.
const WORKFLOW: &str = include_str!("../../contrib/publish.yml");
const ELSEWHERE: &str = "a job may publish a crate of the repository that it runs for, with a token that may write there";

/// A repository with the sources of the crate `greeter`, and whose it is.
struct Sources {
    owner: User,
    token: String,
    repository: Repository,
}

impl Sources {
    #[track_caller]
    fn make(beside: &Beside<'_>, visibility: Visibility) -> Self {
        let owner = beside.forge.user("alice");
        let repository = beside.forge.repository(&owner.login, "greeter", visibility);
        Self {
            token: beside.token(&owner, &["all"]),
            owner,
            repository,
        }
    }

    fn url(&self, forge: &Gitea) -> String {
        format!(
            "{}/{}/{}",
            forge.url(),
            self.owner.login,
            self.repository.name
        )
    }

    /// A version of the crate that says where its sources are.
    fn release(&self, forge: &Gitea, version: &str) -> Release {
        self.release_of(forge, &self.repository, version)
    }

    /// One that says that its sources are in this repository.
    fn release_of(&self, forge: &Gitea, repository: &Repository, version: &str) -> Release {
        let url = format!("{}/{}/{}", forge.url(), repository.owner, repository.name);
        let manifest = format!("{}repository = \"{url}\"\n", manifest("greeter", version));
        let files: [(&str, &[u8]); 2] = [("Cargo.toml", manifest.as_bytes()), ("src/lib.rs", b"")];
        Release {
            name: "greeter".to_owned(),
            version: version.to_owned(),
            crate_file: tarball("greeter", version, &files),
        }
    }

    /// Pushes the sources of a version with the workflow that people copy, and a tag that starts it.
    #[track_caller]
    fn push(&self, beside: &Beside<'_>, version: &str) -> Checkout {
        let checkout = Checkout::of(beside.forge, &self.repository, &self.token);
        let index = beside.registry.sparse_index();
        let workflow = WORKFLOW
            .replace("sparse+https://crates.example.com/crates/index/", &index)
            .replace("ubuntu-latest", "tests");
        assert!(workflow.contains(&index));
        let manifest = format!(
            "{}repository = \"{}\"\n",
            manifest("greeter", version),
            self.url(beside.forge)
        );
        for (path, text) in [
            (".gitea/workflows/publish.yml", workflow.as_str()),
            ("Cargo.toml", &manifest),
            ("src/lib.rs", "pub fn greeting() {}\n"),
            (".gitignore", "Cargo.lock\n"),
        ] {
            let file = checkout.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        checkout.git(&["add", "--all"]).succeeds();
        checkout.commit(version, ("Alice", "alice@localhost.test"), &[]);
        checkout.push("main").succeeds();
        let tag = format!("HEAD:refs/tags/v{version}");
        checkout
            .git(&["push", "--quiet", "origin", &tag])
            .succeeds();
        checkout
    }
}

/// Runs the copied workflow with the cargo of the tests, in what was checked out; it must succeed.
#[track_caller]
fn runs(job: &Job<'_>, checkout: &Checkout) {
    let target = tempfile::TempDir::new().unwrap();
    let programs = Path::new(env!("CARGO")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", programs.display());
    let ran = job.run_in(
        &checkout.path(),
        &[
            ("PATH", &path),
            ("CARGO_TARGET_DIR", target.path().to_str().unwrap()),
            ("CARGO_TERM_COLOR", "never"),
        ],
    );
    assert_eq!(
        ran.len(),
        1,
        "the workflow has one step that runs something"
    );
    for step in ran {
        step.succeeds();
    }
}

#[track_caller]
fn assert_refused(reply: &Reply, sentence: &str) {
    assert_eq!(reply.status, 403, "{reply:?}");
    let said = reply.refusal();
    assert!(said.contains(sentence), "{said}");
}

#[test]
fn a_workflow_publishes_with_the_token_of_its_job_and_no_secret() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let sources = Sources::make(&beside, Visibility::Private);
    let runner = Runner::of(forge, &sources.repository);
    let checkout = sources.push(&beside, "0.1.0");
    let job = runner.take();
    beside.registry.look_for(&job.token);
    runs(&job, &checkout);
    // The first version links the crate to the repository, and makes nobody its owner.
    let full_name = format!("{}/greeter", sources.owner.login);
    let id = sources.repository.id;
    let owners = format!("users = []\nrepository = {{ name = \"{full_name}\", id = {id} }}\n");
    assert_eq!(beside.file("owners/gr/ee/greeter.toml"), owners);
    let newest = beside.newest();
    let commit = job.context["sha"].as_str().unwrap();
    let run = job.context["run_number"].as_str().unwrap();
    for line in [
        format!("{full_name}\n\npublish greeter 0.1.0\n"),
        format!("\nPublished-by: {full_name}\n"),
        format!("\nAuthenticated-via: job forge token of repository {id}\n"),
        "\nCI-workflow: publish.yml\n".to_owned(),
        format!("\nCI-run: {run}\n"),
        format!("\nCI-commit: {commit}\n"),
        format!("\nSource-commit: {commit}\n"),
    ] {
        assert!(newest.contains(&line), "{line} is not in {newest}");
    }

    // It publishes, and nothing else.
    let port = beside.registry.port;
    let yank = request("DELETE", "/crates/api/v1/crates/greeter/0.1.0/yank");
    let add = request("PUT", "/crates/api/v1/crates/greeter/owners")
        .body(json!({ "users": [sources.owner.login] }).to_string());
    for request in [yank, add] {
        let reply = request.token(&job.token).send(port);
        assert_refused(
            &reply,
            "a job of the forge's CI may publish, and nothing else",
        );
    }
    let token = job.token.clone();
    job.end();
    let ended = sources.release(forge, "0.1.1").publish(port, &token);
    assert_eq!(ended.status, 401, "{ended:?}");

    // From then on, those who push there publish too, and its next jobs.
    let person = beside.developer(&beside.token(&sources.owner, &DEVELOPER));
    publish(&person, "0.1.1").succeeds();
    let listed = ["owner", "--list", "greeter", "--registry", "crates"];
    let listed = person.cargo(&person.work(), &listed).succeeds().stdout;
    let told = format!("{full_name} (whoever pushes to this repository, and its jobs)\n");
    assert_eq!(listed, told);
    // Who owns it is not the forge's to say; nobody does, and it is told what to do about it.
    let add = [
        "owner",
        "--add",
        &sources.owner.login,
        "greeter",
        "--registry",
        "crates",
    ];
    let refused = person.cargo(&person.work(), &add);
    refused.fails_with("name some by a pull request on the index, in `owners/gr/ee/greeter.toml`");
    let checkout = sources.push(&beside, "0.1.2");
    let job = runner.take();
    beside.registry.look_for(&job.token);
    runs(&job, &checkout);
    job.end();
    assert!(beside.newest().contains("\n\npublish greeter 0.1.2\n"));
    beside.tip();
}

#[test]
fn a_job_that_may_only_read_or_is_of_another_repository_publishes_nothing() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let port = beside.registry.port;
    let sources = Sources::make(&beside, Visibility::Public);
    let writer = forge.with_token(&sources.token);
    let tip = beside.tip();

    let runner = Runner::of(forge, &sources.repository);
    let text = workflow("contents: read", &["true"]);
    let job = runner.begin(&writer, &sources.repository, &text);
    let first = sources.release(forge, "0.1.0");
    assert_refused(&first.publish(port, &job.token), ELSEWHERE);
    job.end();

    // It may write, but not tell what it was started by.
    let hidden = forge.repository(&sources.owner.login, "hidden", Visibility::Private);
    let runner_of_hidden = Runner::of(forge, &hidden);
    let text = workflow("contents: write", &["true"]);
    let job = runner_of_hidden.begin(&writer, &hidden, &text);
    let release = sources.release_of(forge, &hidden, "0.1.0");
    let sentence = "give the job the permission `actions: read` too";
    assert_refused(&release.publish(port, &job.token), sentence);
    job.end();

    let other = forge.repository(&sources.owner.login, "other", Visibility::Public);
    let runner_of_other = Runner::of(forge, &other);
    let job = runner_of_other.begin(&writer, &other, &workflow("", &["true"]));
    // What it claims makes nothing its own.
    assert_refused(&first.publish(port, &job.token), ELSEWHERE);
    // Without a claim, nothing is known of it.
    let nowhere = Release::new("greeter", "0.1.0");
    assert_refused(&nowhere.publish(port, &job.token), ELSEWHERE);
    assert_eq!(beside.tip(), tip);

    writer.write_file(
        &sources.repository,
        "main",
        ".gitea/workflows/b.yml",
        &workflow("", &["true"]),
    );
    let own = runner.take();
    first.publish(port, &own.token).succeeds();
    let second = sources.release(forge, "0.1.1");
    assert_refused(&second.publish(port, &job.token), ELSEWHERE);
    second.publish(port, &own.token).succeeds();
    // A crate of a person has no repository, whatever its manifest says.
    let person = beside.developer(&beside.token(&sources.owner, &DEVELOPER));
    let library = crate::common::project::Project::library("other", "0.1.0", "");
    let library = library.write(&person.work());
    let arguments = ["publish", "--no-verify", "--registry", "crates"];
    person.cargo(&library, &arguments).succeeds();
    let mut third = sources.release(forge, "0.2.0");
    third.name = "other".to_owned();
    let text = format!(
        "{}repository = \"{}\"\n",
        manifest("other", "0.2.0"),
        sources.url(forge)
    );
    let files: [(&str, &[u8]); 2] = [("Cargo.toml", text.as_bytes()), ("src/lib.rs", b"")];
    third.crate_file = tarball("other", "0.2.0", &files);
    let refused = third.publish(port, &own.token);
    assert_refused(&refused, ELSEWHERE);
    assert_refused(
        &refused,
        "as `repository = { name = \"alice/greeter\", id = 12 }`",
    );
    // It gets one by a commit on the branch.
    let linked = format!(
        "users = []\nrepository = {{ name = \"{}/{}\", id = {} }}\n",
        sources.owner.login, sources.repository.name, sources.repository.id
    );
    beside.put("owners/ot/he/other.toml", &linked);
    third.publish(port, &own.token).succeeds();
    own.end();
    job.end();
}

#[test]
fn a_job_of_a_pull_request_publishes_nothing_be_it_of_a_fork_or_not() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start(forge);
    let port = beside.registry.port;
    let sources = Sources::make(&beside, Visibility::Public);
    let repository = &sources.repository;
    let runner = Runner::of(forge, repository);
    let text = workflow("contents: write", &["true"]).replace("on: push", "on: pull_request");
    let writer = forge.with_token(&sources.token);
    writer.write_file(repository, "main", ".gitea/workflows/check.yml", &text);
    let tip = beside.tip();
    let release = sources.release(forge, "0.1.0");

    // Of a branch beside: the forge gives it a token that may write.
    writer.write_file(repository, "proposal", "a-file", "text");
    writer.open_pull_request(repository, "proposal");
    let job = runner.take();
    assert_eq!(job.context["event_name"], "pull_request");
    let rights = forge.with_token(&job.token).read(&repository.api());
    assert_eq!(rights["permissions"]["push"], true, "{rights}");
    let said = "a pull request's, whose jobs may not publish";
    let refused = release.publish(port, &job.token);
    assert!(refused.refusal().contains(said), "{refused:?}");
    job.end();

    // Of a fork, once somebody let it run.
    let bob = forge.user("bob");
    let of_bob = forge.with_token(&forge.token(&bob, &["all"]).text);
    let forked = of_bob.send("POST", &format!("{}/forks", repository.api()), &json!({}));
    let fork = Repository {
        owner: bob.login.clone(),
        name: repository.name.clone(),
        id: number(&done(forked, 202), "id"),
    };
    of_bob.write_file(&fork, "evil", "b-file", "text");
    of_bob.open_pull_request(repository, &format!("{}:evil", bob.login));
    let Repository { owner, name, .. } = repository;
    let approve = format!("/{owner}/{name}/actions/runs/latest/approve");
    forge.fill_in(&approve, &[]);
    let job = runner.take();
    assert_eq!(job.context["head_ref"], "evil");
    assert_refused(&release.publish(port, &job.token), ELSEWHERE);
    job.end();
    assert_eq!(beside.tip(), tip);
}

#[test]
fn a_job_works_on_a_private_registry_that_the_forge_opens_to_it() {
    let Some(forge) = Gitea::shared() else { return };
    let beside = Beside::start_as(forge, &Wanted::private());
    let sources = Sources::make(&beside, Visibility::Private);
    let runner = Runner::of(forge, &sources.repository);
    let checkout = sources.push(&beside, "0.1.0");
    let job = runner.take();
    beside.registry.look_for(&job.token);
    let refused = beside.read(&job.token);
    assert_refused(&refused, "may not read the index repository");
    let refused = sources.release(forge, "0.1.0");
    let refused = refused.publish(beside.registry.port, &job.token);
    assert_refused(&refused, "may not read the index repository");
    job.end();
    // As its owner does in the settings of the index repository.
    let Repository { owner, name, .. } = &beside.repository;
    let form = format!("/{owner}/{name}/settings/actions/general/collaborative_owner/add");
    forge.fill_in(&form, &[("collaborative_owner", &sources.owner.login)]);
    drop(checkout);
    let checkout = sources.push(&beside, "0.1.1");
    let job = runner.take();
    beside.registry.look_for(&job.token);
    runs(&job, &checkout);
    job.end();
    let newest = beside.newest();
    assert!(newest.contains("\n\npublish greeter 0.1.1\n"), "{newest}");
}
