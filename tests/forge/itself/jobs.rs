//! Jobs of the forge's own CI, and what their tokens show.

use super::{Scene, assert_hidden, rights};
use crate::forge::gitea::Gitea;
use crate::forge::runner::{Job, Runner, workflow};
use crate::forge::scene::{Repository, Visibility};

/// Panics unless the token is that of this job.
#[track_caller]
fn assert_is_of(forge: &Gitea, job: &Job<'_>, repository: &Repository) {
    let user = forge.with_token(&job.token).read("/user");
    assert_eq!(user["id"], -2);
    assert_eq!(user["login"], "gitea-actions");
    let name = user["login_name"].as_str().unwrap();
    assert_eq!(name, format!("@gitea-actions/{}", job.id));
    let full_name = format!("{}/{}", repository.owner, repository.name);
    assert_eq!(job.context["repository"], full_name);
    assert_eq!(job.context["event"]["repository"]["id"], repository.id);
}

#[test]
fn a_job_pushes_to_its_own_repository_alone() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge);
    let owner = &scene.owner.login;
    let public = forge.repository(owner, "public", Visibility::Public);
    let private = forge.repository(owner, "private", Visibility::Private);
    let runner = Runner::of(forge, &scene.repository);
    let writer = forge.with_token(&scene.owner_token);
    let job = runner.begin(&writer, &scene.repository, &workflow("", &["true"]));
    assert_is_of(forge, &job, &scene.repository);
    let caller = forge.with_token(&job.token);
    assert_eq!(rights(&caller, &scene.repository), (true, true));
    assert_eq!(rights(&caller, &public), (true, false));
    assert_hidden(&caller, &private);
    // The same token in the form that a runner's services get.
    let runtime = forge.with_bearer(&job.runtime_token);
    assert_eq!(runtime.read("/user"), caller.read("/user"));
    assert_eq!(rights(&runtime, &scene.repository), (true, true));
    job.end();
    assert_eq!(caller.get("/user").status, 401);
    assert_eq!(runtime.get("/user").status, 401);
}

/// So the advertisement before a push proves nothing of a job, as its token has no scopes.
#[test]
fn a_job_whose_workflow_lets_it_read_does_not_push() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge);
    let runner = Runner::of(forge, &scene.repository);
    let writer = forge.with_token(&scene.owner_token);
    let text = workflow("contents: read", &["true"]);
    let job = runner.begin(&writer, &scene.repository, &text);
    assert_is_of(forge, &job, &scene.repository);
    let caller = forge.with_password("anybody", &job.token);
    assert_eq!(rights(&caller, &scene.repository), (true, false));
    assert_eq!(caller.ask_to_push(&scene.repository).status, 200);
    job.end();
}

#[test]
fn a_job_runs_its_steps_and_the_next_push_begins_another() {
    let Some(forge) = Gitea::shared() else { return };
    let scene = Scene::set(forge);
    let runner = Runner::of(forge, &scene.repository);
    let writer = forge.with_token(&scene.owner_token);
    let steps = [
        "for word in one two; do\n  echo $word\ndone >words",
        "cat words\necho \"$GITHUB_REPOSITORY $EXTRA\"",
        "[ '${{ secrets.GITEA_TOKEN }}' = \"$TOKEN\" ] && exit 7",
        "echo never",
    ];
    let job = runner.begin(&writer, &scene.repository, &workflow("", &steps));
    let token = job.token.clone();
    let ran = job.run(&[("EXTRA", "more"), ("TOKEN", &token)]);
    assert_eq!(ran.len(), 3);
    assert!(!ran[2].is_success());
    let full_name = format!("{}/index", scene.owner.login);
    assert_eq!(ran[1].stdout, format!("one\ntwo\n{full_name} more\n"));
    job.end();
    writer.write_file(&scene.repository, "main", "a-file", "text");
    let next = runner.take();
    assert_ne!(next.token, token);
    next.end();
}
