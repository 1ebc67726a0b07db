//! The one place that builds a git process.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::GitProtocol;
use crate::git;

/// What a process answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answering {
    /// The request for the refs, which has no body.
    Advertisement,
    /// A request on its standard input.
    Request,
}

/// Configuration that holds whatever a file says.
const SETTINGS: [&str; 9] = [
    // A filter makes the process walk the whole tree for each client.
    "uploadpack.allowFilter=false",
    "uploadpack.allowAnySHA1InWant=false",
    "uploadpack.allowReachableSHA1InWant=false",
    "uploadpack.allowTipSHA1InWant=false",
    "uploadpack.allowRefInWant=false",
    // Whatever else somebody put beside the branch is none of the index.
    "transfer.hideRefs=refs",
    "transfer.hideRefs=!refs/heads/main",
    // The CPU limit counts all threads of a process: one thread makes it a time.
    "pack.threads=1",
    "transfer.advertiseSID=false",
];

/// Whether there is a git program that can be run.
pub fn check_program() -> std::io::Result<()> {
    let mut command = std::process::Command::new("git");
    command.arg("--version").stdin(Stdio::null());
    match command.output()?.status.success() {
        true => Ok(()),
        false => Err(std::io::Error::other("`git --version` failed")),
    }
}

/// `git upload-pack` on the repository at `git_dir`, not started yet.
///
/// The process has its own process group, and dies when its handle is dropped.
pub(super) fn upload_pack(git_dir: &Path, answering: Answering, protocol: GitProtocol) -> Command {
    let mut command = Command::from(git::command(git_dir));
    command.env("GIT_NAMESPACE", "served");
    match protocol {
        GitProtocol::V0 => {}
        GitProtocol::V1 => {
            command.env("GIT_PROTOCOL", "version=1");
        }
        GitProtocol::V2 => {
            command.env("GIT_PROTOCOL", "version=2");
        }
    }
    for setting in SETTINGS {
        command.arg("-c").arg(setting);
    }
    command.args(["upload-pack", "--strict", "--stateless-rpc"]);
    if answering == Answering::Advertisement {
        command.arg("--http-backend-info-refs");
    }
    command
        .arg("--")
        .arg(git_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command
}
