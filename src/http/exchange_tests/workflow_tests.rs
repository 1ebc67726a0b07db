//! The workflow that people copy, its steps run as a runner of a forge runs them, with the real cargo.

use std::env;
use std::fs;
use std::path::Path;

use super::*;

#[path = "../../../tests/common/workflow.rs"]
mod parsed;
#[allow(dead_code)]
#[path = "../../../tests/common/tools.rs"]
mod tools;

const WORKFLOW: &str = include_str!("../../../contrib/publish-id-token.yml");
/// With what a job asks for its id-token.
const ASKS_WITH: &str = "of-the-runner";
const MANIFEST: &str = r#"
[package]
name = "greeter"
version = "0.1.0"
edition = "2021"
description = "A crate of a test"
license = "MIT"

[workspace]
"#;

/// Runs the steps of a job that is given an id-token with this `jti`; what the one that failed has said.
async fn run(bench: &Bench, work: &Path, jti: &str) -> Result<(), String> {
    let mut claims = bench.job();
    claims["jti"] = json!(jti);
    let registry = bench.registry().to_owned();
    let workflow = WORKFLOW.replace("https://crates.example.com", &registry);
    let id_token = (ASKS_WITH, registry, bench.jobs.sign(&claims));
    bench.double.world().job_id_tokens = vec![id_token];
    let asked_at = format!(
        "{}/api/actions/_apis/pipelines/workflows/4/idtoken?placeholder=true",
        bench.double.url()
    );
    let programs = Path::new(env!("CARGO")).parent().unwrap().display();
    let path = format!("{programs}:{}", env::var("PATH").unwrap());
    for step in parsed::steps(&workflow) {
        let mut command = tokio::process::Command::new("bash");
        command
            .args(["-e", "-o", "pipefail", "-c", &step])
            .env_clear()
            .env("PATH", &path)
            .env("HOME", work)
            .env("CARGO_HOME", work.join("cargo"))
            .envs(parsed::variables(&workflow))
            .env("ACTIONS_ID_TOKEN_REQUEST_URL", &asked_at)
            .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", ASKS_WITH)
            .current_dir(work.join("greeter"));
        let ran = command.output().await.unwrap();
        if !ran.status.success() {
            return Err(String::from_utf8(ran.stderr).unwrap());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_publishes_with_the_id_token_of_its_job_and_no_secret() {
    if tools::on_path("curl").is_none() {
        return;
    }
    let bench = Bench::start(Visibility::Public).await;
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("greeter");
    fs::create_dir_all(source.join("src")).unwrap();
    fs::write(source.join("Cargo.toml"), MANIFEST).unwrap();
    fs::write(source.join("src/lib.rs"), "").unwrap();
    let spent = bench.folder.path().join("data/spent");
    let files = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .filter(|entry| entry.as_ref().unwrap().path().is_file())
            .count()
    };
    let counted = || (files(&spent), files(&spent.join("given-back")));

    run(&bench, work.path(), "1").await.unwrap();
    let commit = bench.newest();
    for line in [
        "acme/serde\npublish greeter 0.1.0\n",
        "\nAuthenticated-via: job token ",
        &format!("\nCI-commit: {COMMIT}\n"),
    ] {
        assert!(commit.contains(line), "{line}: {commit}");
    }
    // The id-token was exchanged, and the token that it gave was given back.
    assert_eq!(counted(), (1, 1));
    let said = run(&bench, work.path(), "1").await.unwrap_err();
    assert!(said.contains("was exchanged before"), "{said}");
    // Whatever the publish comes to, its token is given back.
    let said = run(&bench, work.path(), "2").await.unwrap_err();
    assert!(said.contains("already exists"), "{said}");
    assert_eq!(counted(), (2, 2));
}
