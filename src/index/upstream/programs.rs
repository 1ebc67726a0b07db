//! What the git program does for us with the forge: fetching, and trying a merge.

use std::io;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::super::refs;
use super::report::words;
use super::{ARRIVED, Upstream, UpstreamFault};
use crate::domain::CommitId;
use crate::git;

/// For the objects of a pull request to come.
const APART_TIME: Duration = Duration::from_secs(120);
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
    pub(in super::super) fn fetch(
        &self,
        git_dir: &Path,
        time: Duration,
    ) -> Result<CommitId, UpstreamFault> {
        let mut command = git::command(git_dir);
        // The forge has taken them: what is wrong with one is found when it is judged, and named.
        command.args(["-c", "fetch.fsckObjects=false"]);
        self.fetch_by(command, &format!("+{}:{ARRIVED}", refs::TIP), time)?;
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
        self.fetch_by(quarantine.command(), name, APART_TIME)
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
        mut command: std::process::Command,
        refspec: &str,
        time: Duration,
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
            // One that does not come forward is given up before its time is over.
            .args([
                "-c",
                "http.lowSpeedLimit=1000",
                "-c",
                "http.lowSpeedTime=30",
            ])
            // As one pack, whatever there is.
            .args(["-c", "fetch.unpackLimit=1", "-c", "core.fsync=all"])
            .args(["fetch", "--quiet", "--no-tags"])
            .args(["--no-write-fetch-head", "--no-auto-gc", "--"])
            .arg(self.url.load().as_str())
            .arg(refspec);
        succeeded(self.run(command, time)?).map(drop)
    }

    /// Runs a program to its end, or to that of its time.
    fn run(&self, command: std::process::Command, time: Duration) -> Result<Output, UpstreamFault> {
        let mut command = Command::from(command);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let fault = |cause: io::Error| UpstreamFault::Git(cause.to_string());
        self.runtime.block_on(async {
            let mut child = command.spawn().map_err(fault)?;
            let group = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
            match timeout(time, listen(&mut child)).await {
                Ok(done) => done.map_err(fault),
                Err(_) => {
                    // With the programs that it has started: they hold the token.
                    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
                    Err(UpstreamFault::Git("it takes too long".to_owned()))
                }
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
async fn listen(child: &mut Child) -> io::Result<Output> {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = tokio::try_join!(beginning(out), beginning(err))?;
    let status = child.wait().await?;
    Ok(Output {
        status,
        stdout,
        stderr,
    })
}

/// The first bytes that come; all are read, so that the program never waits.
async fn beginning(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe)
            .take(SAID_BYTES_MAX)
            .read_to_end(&mut kept)
            .await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_beginning_is_kept_and_all_is_read() {
        let none = None::<&[u8]>;
        assert_eq!(beginning(none).await.unwrap(), b"");
        for length in [0, 3, 4096, 4097, 100_000] {
            let bytes = vec![b'a'; length];
            let mut pipe = bytes.as_slice();
            let kept = beginning(Some(&mut pipe)).await.unwrap();
            assert_eq!(kept, bytes[..length.min(4096)]);
            assert!(pipe.is_empty());
        }
    }
}
