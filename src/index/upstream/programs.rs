//! What the git program does for us with the forge: fetching, and trying a merge.

use std::io;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::super::refs;
use super::report::words;
use super::{ARRIVED, Upstream, UpstreamFault};
use crate::domain::CommitId;
use crate::git;

/// For new objects to come.
const FETCH_TIME: Duration = Duration::from_secs(120);
/// For a merge to be tried.
const MERGE_TIME: Duration = Duration::from_secs(30);
/// The most bytes that are read of what git says.
const SAID_BYTES_MAX: u64 = 4096;

/// A folder for objects that shall not be in the repository, although they build on what is there.
pub(in super::super) struct Quarantine<'a> {
    pub(in super::super) git_dir: &'a Path,
    pub(in super::super) objects: &'a Path,
}

impl Upstream {
    /// Brings the objects of the branch's commit into the repository at `git_dir`, and tells where it is then.
    pub(in super::super) fn fetch(&self, git_dir: &Path) -> Result<CommitId, UpstreamFault> {
        let mut command = git::command(git_dir);
        self.fetch_by(&mut command, &format!("+{}:{ARRIVED}", refs::TIP))?;
        let arrived = refs::read(git_dir, ARRIVED);
        let arrived = arrived.map_err(|cause| UpstreamFault::Git(cause.to_string()))?;
        arrived.ok_or_else(|| UpstreamFault::Git("nothing came".to_owned()))
    }

    /// Brings the objects of another ref of the forge into a folder of their own.
    pub(in super::super) fn fetch_apart(
        &self,
        quarantine: &Quarantine<'_>,
        name: &str,
    ) -> Result<(), UpstreamFault> {
        self.fetch_by(&mut quarantine.command(), name)
    }

    /// The commit that a merge of `head` into `good` would make, in a folder of its own; `None` if they do not fit.
    pub(in super::super) fn merge_apart(
        &self,
        quarantine: &Quarantine<'_>,
        good: CommitId,
        head: CommitId,
    ) -> Result<Option<CommitId>, UpstreamFault> {
        let (good, head) = (good.to_string(), head.to_string());
        let mut merge = quarantine.command();
        merge.args(["merge-tree", "--write-tree", "--no-messages", &good, &head]);
        let merged = self.run(merge, MERGE_TIME)?;
        // 1 is a conflict, anything beyond it a failure.
        if merged.status.code() == Some(1) {
            return Ok(None);
        }
        let tree = said(&succeeded(merged)?.stdout);
        let mut commit = quarantine.command();
        for who in ["AUTHOR", "COMMITTER"] {
            commit.env(format!("GIT_{who}_NAME"), "Sidecargo");
            commit.env(format!("GIT_{who}_EMAIL"), "merge@localhost");
        }
        commit.args([
            "commit-tree",
            "-m",
            "what a merge would be",
            "-p",
            &good,
            &tree,
        ]);
        let commit = succeeded(self.run(commit, MERGE_TIME)?)?;
        let id = said(&commit.stdout).parse();
        id.map(Some)
            .map_err(|_| UpstreamFault::Git("it names no commit".to_owned()))
    }

    fn fetch_by(
        &self,
        command: &mut std::process::Command,
        refspec: &str,
    ) -> Result<(), UpstreamFault> {
        let token = (self.authorization)();
        let token = token.map_err(|cause| UpstreamFault::Token(cause.to_string()))?;
        let token = token.to_str();
        let token = token.map_err(|_| UpstreamFault::Token("it is not ASCII".to_owned()))?;
        command
            // By the environment, which nobody else on the machine can read, unlike arguments.
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "http.extraHeader")
            .env("GIT_CONFIG_VALUE_0", format!("Authorization: {token}"))
            // The header would go wherever it is sent to.
            .args(["-c", "http.followRedirects=false"])
            // As one pack, whatever there is.
            .args(["-c", "fetch.unpackLimit=1", "-c", "core.fsync=all"])
            .args(["fetch", "--quiet", "--no-tags"])
            .args(["--no-write-fetch-head", "--no-auto-gc", "--"])
            .arg(self.url.load().as_str())
            .arg(refspec);
        let command = std::mem::replace(command, std::process::Command::new("git"));
        succeeded(self.run(command, FETCH_TIME)?).map(drop)
    }

    /// Runs a program to its end, or to that of its time.
    fn run(&self, command: std::process::Command, time: Duration) -> Result<Output, UpstreamFault> {
        let mut command = Command::from(command);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        self.runtime.block_on(async {
            match timeout(time, listen(command)).await {
                Ok(done) => done.map_err(|cause| UpstreamFault::Git(cause.to_string())),
                Err(_) => Err(UpstreamFault::Git("it takes too long".to_owned())),
            }
        })
    }
}

impl Quarantine<'_> {
    fn command(&self) -> std::process::Command {
        let mut command = git::command(self.git_dir);
        command.env("GIT_OBJECT_DIRECTORY", self.objects).env(
            "GIT_ALTERNATE_OBJECT_DIRECTORIES",
            self.git_dir.join("objects"),
        );
        command
    }
}

/// The exit of a program, and the beginning of what it says.
async fn listen(mut command: Command) -> io::Result<Output> {
    let mut child = command.spawn()?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let first = async {
        if let Some(out) = child.stdout.take() {
            out.take(SAID_BYTES_MAX).read_to_end(&mut stdout).await?;
        }
        io::Result::Ok(())
    };
    let second = async {
        if let Some(err) = child.stderr.take() {
            err.take(SAID_BYTES_MAX).read_to_end(&mut stderr).await?;
        }
        io::Result::Ok(())
    };
    tokio::try_join!(first, second)?;
    let status = child.wait().await?;
    Ok(Output {
        status,
        stdout,
        stderr,
    })
}

fn succeeded(output: Output) -> Result<Output, UpstreamFault> {
    match output.status.success() {
        true => Ok(output),
        false => Err(UpstreamFault::Git(words(&said(&output.stderr)))),
    }
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
