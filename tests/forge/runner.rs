//! What runs the jobs of a repository: the forge's protocol for runners, spoken in JSON.

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::api::{Caller, done, text};
use super::gitea::Gitea;
use super::scene::Repository;
use crate::common::http::{Reply, request};
use crate::common::ran::{Ran, run};
use crate::common::watch::eventually;
use crate::common::workflow;

/// What the forge is told of the runner's age.
const VERSION: &str = "v0.3.0";
/// Where jobs of the tests run.
const LABEL: &str = "tests";

/// A runner of one repository.
pub struct Runner<'forge> {
    forge: &'forge Gitea,
    uuid: String,
    token: String,
}

/// A job that a runner has taken and that runs until it is ended.
pub struct Job<'forge> {
    runner: &'forge Runner<'forge>,
    /// The number of its task.
    pub id: String,
    /// What the forge tells the job of itself.
    pub context: Value,
    /// Its token, good while it runs.
    pub token: String,
    /// Another one, for the runner's own services.
    pub runtime_token: String,
    workflow: String,
}

/// The text of a workflow that runs when something is pushed.
pub fn workflow(permissions: &str, steps: &[&str]) -> String {
    let mut text = String::from("on: push\n");
    if !permissions.is_empty() {
        text.push_str(&format!("permissions:\n  {permissions}\n"));
    }
    text.push_str(&format!(
        "jobs:\n  only:\n    runs-on: {LABEL}\n    steps:\n"
    ));
    for step in steps {
        // A block, whatever stands in it.
        text.push_str("      - run: |\n");
        for line in step.lines() {
            text.push_str(&format!("          {line}\n"));
        }
    }
    text
}

impl<'forge> Runner<'forge> {
    /// Registers one that takes the jobs of this repository.
    #[track_caller]
    pub fn of(forge: &'forge Gitea, repository: &Repository) -> Self {
        let path = format!("{}/actions/runners/registration-token", repository.api());
        let registration = done(forge.admin().send("POST", &path, &Value::Null), 200);
        let wanted = json!({
            "name": "tests",
            "token": registration["token"],
            "version": VERSION,
            "labels": [LABEL],
        });
        let mut runner = Self {
            forge,
            uuid: String::new(),
            token: String::new(),
        };
        let registered = done(runner.call("Register", &wanted), 200);
        runner.uuid = text(&registered["runner"], "uuid");
        runner.token = text(&registered["runner"], "token");
        let declared = json!({ "version": VERSION, "labels": [LABEL] });
        done(runner.call("Declare", &declared), 200);
        runner
    }

    /// Writes a workflow into the repository, by which a job begins, and takes it.
    #[track_caller]
    pub fn begin(&self, writer: &Caller<'_>, repository: &Repository, workflow: &str) -> Job<'_> {
        let path = ".gitea/workflows/job.yml";
        writer.write_file(repository, "main", path, workflow);
        self.take()
    }

    /// Takes the next job, which must come.
    #[track_caller]
    pub fn take(&self) -> Job<'_> {
        let task = eventually("a job", || {
            let fetched = done(self.call("FetchTask", &json!({ "tasksVersion": "0" })), 200);
            fetched.get("task").cloned()
        });
        let workflow = BASE64_STANDARD.decode(text(&task, "workflowPayload"));
        Job {
            runner: self,
            id: text(&task, "id"),
            token: text(&task["secrets"], "GITEA_TOKEN"),
            runtime_token: text(&task["context"], "gitea_runtime_token"),
            context: task["context"].clone(),
            workflow: String::from_utf8(workflow.unwrap()).unwrap(),
        }
    }

    fn call(&self, what: &str, body: &Value) -> Reply {
        let path = format!("/api/actions/runner.v1.RunnerService/{what}");
        request("POST", path)
            .header("Content-Type", "application/json")
            .header("x-runner-uuid", &self.uuid)
            .header("x-runner-token", &self.token)
            .body(body.to_string())
            .send(self.forge.port)
    }
}

impl Job<'_> {
    /// Runs its steps in a temporary folder, with these variables beside those that every job has, until one fails.
    pub fn run(&self, variables: &[(&str, &str)]) -> Vec<Ran> {
        self.run_in(TempDir::new().unwrap().path(), variables)
    }

    /// The same in a folder to which its repository was checked out.
    pub fn run_in(&self, folder: &Path, variables: &[(&str, &str)]) -> Vec<Ran> {
        let home = TempDir::new().unwrap();
        let workflow = self
            .workflow
            .replace("${{ secrets.GITEA_TOKEN }}", &self.token);
        let mut ran = Vec::new();
        for step in workflow::steps(&workflow) {
            let mut command = Command::new("bash");
            command
                .args(["-e", "-o", "pipefail", "-c", &step])
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .env("HOME", home.path())
                .envs(self.variables())
                .envs(workflow::variables(&workflow))
                .envs(variables.iter().copied())
                .current_dir(folder);
            ran.push(run(&mut command, b""));
            if !ran.last().is_some_and(Ran::is_success) {
                break;
            }
        }
        ran
    }

    /// Ends it; its tokens are worth nothing from now on.
    #[track_caller]
    pub fn end(self) {
        let now = jiff::Timestamp::now().to_string();
        let state = json!({
            "id": self.id,
            "result": "RESULT_SUCCESS",
            "startedAt": now,
            "stoppedAt": now,
            "steps": [],
        });
        done(
            self.runner.call("UpdateTask", &json!({ "state": state })),
            200,
        );
    }

    /// What every job finds in its environment.
    fn variables(&self) -> Vec<(String, String)> {
        let names = [
            "repository",
            "repository_owner",
            "sha",
            "ref",
            "ref_name",
            "ref_type",
            "run_id",
            "run_number",
            "workflow",
            "job",
            "actor",
            "event_name",
            "server_url",
            "api_url",
        ];
        let variable = |name: &&str| {
            let value = self.context[*name].as_str().unwrap_or_default();
            (
                format!("GITHUB_{}", name.to_ascii_uppercase()),
                value.to_owned(),
            )
        };
        let mut variables: Vec<_> = names.iter().map(variable).collect();
        for name in ["CI", "GITHUB_ACTIONS", "GITEA_ACTIONS"] {
            variables.push((name.to_owned(), "true".to_owned()));
        }
        let runtime = self.runtime_token.clone();
        variables.push(("ACTIONS_RUNTIME_TOKEN".to_owned(), runtime));
        variables
    }
}
