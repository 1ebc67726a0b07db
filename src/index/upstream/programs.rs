//! What the git program does for us with the forge: fetching, and trying a merge.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::super::refs;
use super::report::words;
use super::{ARRIVED, Upstream, UpstreamFault};
use crate::domain::CommitId;
use crate::git;

/// For a merge to be tried.
const MERGE: Limits = Limits {
    time: Duration::from_secs(30),
    file_bytes: 64 << 20,
    // A file of 30 MB of line feeds, which come as 30 kB, would take more than 2 GB. One that yanks 20,000 of 100,000
    // crates, each of which has new versions meanwhile, takes less than 256 MB.
    memory_bytes: 1 << 30,
};
/// Where the client in this process finds the certificates that it trusts, if not with the system's, and how git is
/// told to find them there, too.
const CERTIFICATES: [(&str, &str); 2] = [
    ("SSL_CERT_FILE", "GIT_SSL_CAINFO"),
    ("SSL_CERT_DIR", "GIT_SSL_CAPATH"),
];
/// The most bytes that are read of what git says, and of the names of files that it tells.
const SAID_BYTES_MAX: u64 = 4096;
const NAMES_BYTES_MAX: u64 = 256 << 10;
/// The most files of which it is known that a pull request touches them: some are kept for each that is open.
const TOUCHED_MAX: usize = 200;

/// What a git program may use, and each program that it starts.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Limits {
    /// Until it is ended; it may work on one core for so long.
    pub(in super::super) time: Duration,
    /// The largest file that it may write, in bytes.
    pub(in super::super) file_bytes: u64,
    /// The most memory that it may have of its own, in bytes: files that it maps do not count.
    pub(in super::super) memory_bytes: u64,
}

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
        limits: Limits,
    ) -> Result<CommitId, UpstreamFault> {
        let mut command = git::command(git_dir);
        // The forge has taken them: what is wrong with one is found when it is judged, and named.
        command.args(["-c", "fetch.fsckObjects=false"]);
        let objects = git_dir.join("objects");
        let refspec = format!("+{}:{ARRIVED}", refs::TIP);
        if let Err(fault) = self.fetch_by(command, &refspec, &objects, limits) {
            // One that was killed leaves its lock, and the next would fail by it.
            let _ = fs::remove_file(git_dir.join(ARRIVED).with_extension("lock"));
            return Err(fault);
        }
        let arrived = refs::read(git_dir, ARRIVED);
        let arrived = arrived.map_err(|cause| UpstreamFault::Git(cause.to_string()))?;
        arrived.ok_or_else(|| UpstreamFault::Git("nothing came".to_owned()))
    }

    /// Brings the objects of another ref of the forge into a folder of their own.
    pub(in super::super) fn fetch_apart(
        &self,
        quarantine: &Quarantine<'_>,
        name: &str,
        limits: Limits,
    ) -> Result<(), UpstreamFault> {
        self.fetch_by(quarantine.command(), name, quarantine.objects, limits)
    }

    /// The commit that a merge of `head` into `branch` would make, in a folder of its own; `None` if they do not fit.
    pub(in super::super) fn merge_apart(
        &self,
        quarantine: &Quarantine<'_>,
        branch: CommitId,
        head: CommitId,
    ) -> Result<Option<CommitId>, UpstreamFault> {
        let (branch, head) = (branch.to_string(), head.to_string());
        let mut merge = quarantine.command();
        merge.args([
            "merge-tree",
            "--write-tree",
            "--no-messages",
            &branch,
            &head,
        ]);
        let merged = self.run(merge, "", MERGE)?;
        if has_no_memory(&merged) {
            return Err(UpstreamFault::TooMuchMemory(MERGE.memory_bytes));
        }
        // 1 is a conflict, anything beyond it a failure; but that of two that have nothing in common is none of ours.
        let is_unrelated = said(&merged.stderr).contains("unrelated histories");
        if merged.status.code() == Some(1) || is_unrelated {
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
            &branch,
            &tree,
        ]);
        let commit = succeeded(self.run(commit, "", MERGE)?)?;
        let id = said(&commit.stdout).parse();
        id.map(Some)
            .map_err(|_| UpstreamFault::Git("it names no commit".to_owned()))
    }

    /// The files below these folders, or these, that a commit of `head` that `branch` does not have touches, or that
    /// differ in what a merge of both would make; `None` if they are too many to be told.
    ///
    /// All of its commits count, for what one does and another takes back can still meet what somebody else does; of a
    /// merge what none of its parents has, for the rest is theirs, unless it is the merge that leaves out what `branch`
    /// has.
    pub(in super::super) fn touched_apart(
        &self,
        quarantine: &Quarantine<'_>,
        (branch, head): (CommitId, CommitId),
        merged: Option<CommitId>,
        below: &[&str],
    ) -> Result<Option<BTreeSet<String>>, UpstreamFault> {
        let mut log = quarantine.command();
        log.args(["log", "--full-history", "-c", "--no-renames", "-z"])
            .args(["--format=", "--name-only", &format!("{branch}..{head}")]);
        let diff = merged.map(|merged| {
            let mut diff = quarantine.command();
            diff.args(["diff-tree", "-r", "--no-renames", "-z", "--name-only"])
                .args([branch.to_string(), merged.to_string()]);
            diff
        });
        let mut touched = BTreeSet::new();
        for mut command in [Some(log), diff].into_iter().flatten() {
            command.arg("--").args(below);
            let told = self.run_and_hear(command, "", MERGE, NAMES_BYTES_MAX)?;
            let told = succeeded(told)?.stdout;
            if told.len() as u64 >= NAMES_BYTES_MAX {
                return Ok(None);
            }
            let told = String::from_utf8_lossy(&told);
            let paths = told.split(['\0', '\n']).filter(|path| !path.is_empty());
            touched.extend(paths.map(str::to_owned));
        }
        Ok(Some(touched).filter(|touched| touched.len() <= TOUCHED_MAX))
    }

    fn fetch_by(
        &self,
        mut command: std::process::Command,
        refspec: &str,
        objects: &Path,
        limits: Limits,
    ) -> Result<(), UpstreamFault> {
        let token = self.token()?;
        self.runtime.block_on(self.must_be_same())?;
        let token = token.to_str().expect("it is a word and its base64");
        command
            // By the environment, which nobody else on the machine can read, unlike arguments.
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "http.extraHeader")
            .env("GIT_CONFIG_VALUE_0", format!("Authorization: {token}"))
            .envs(certificates(|name| env::var_os(name)))
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
            // What is wanted is read from the input, so nothing begins before the limits hold.
            .args(["--no-write-fetch-head", "--no-auto-gc", "--stdin", "--"])
            .arg(self.url.load().as_str());
        let fetched = self.run(command, &format!("{refspec}\n"), limits)?;
        if has_no_memory(&fetched) {
            return Err(UpstreamFault::TooMuchMemory(limits.memory_bytes));
        }
        match succeeded(fetched) {
            // Of this git says only that a program of its own failed.
            Err(_) if has_cut_file(&objects.join("pack"), limits.file_bytes) => {
                Err(UpstreamFault::TooLarge(limits.file_bytes))
            }
            told => told.map(drop),
        }
    }

    /// Runs a program to its end, or to that of its time.
    fn run(
        &self,
        command: std::process::Command,
        input: &str,
        limits: Limits,
    ) -> Result<Output, UpstreamFault> {
        self.run_and_hear(command, input, limits, SAID_BYTES_MAX)
    }

    /// The same, and reads so many bytes of what it says.
    fn run_and_hear(
        &self,
        command: std::process::Command,
        input: &str,
        limits: Limits,
        most: u64,
    ) -> Result<Output, UpstreamFault> {
        let mut command = Command::from(command);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let fault = |cause: io::Error| UpstreamFault::Git(cause.to_string());
        self.runtime.block_on(async {
            let mut child = command.spawn().map_err(fault)?;
            let group = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
            let group = group.ok_or_else(|| fault(io::ErrorKind::NotFound.into()))?;
            limits.hold(group).map_err(fault)?;
            let talk = async {
                if let Some(mut stdin) = child.stdin.take() {
                    // One that ends without reading says why.
                    let _ = stdin.write_all(input.as_bytes()).await;
                }
                listen(&mut child, most).await
            };
            match timeout(limits.time, talk).await {
                Ok(done) => done.map_err(fault),
                Err(_) => {
                    // With the programs that it has started: they hold the token.
                    let _ = kill_process_group(group, Signal::KILL);
                    Err(UpstreamFault::Git("it takes too long".to_owned()))
                }
            }
        })
    }
}

impl Limits {
    /// Holds a process to them, and all that it starts from now on.
    fn hold(self, process: Pid) -> io::Result<()> {
        let limit = |most| Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        prlimit(Some(process), Resource::Fsize, limit(self.file_bytes))?;
        prlimit(Some(process), Resource::Data, limit(self.memory_bytes))?;
        // The kernel ends it at the second.
        prlimit(Some(process), Resource::Cpu, limit(self.time.as_secs()))?;
        Ok(())
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
async fn listen(child: &mut Child, most: u64) -> io::Result<Output> {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = tokio::try_join!(beginning(out, most), beginning(err, most))?;
    let status = child.wait().await?;
    Ok(Output {
        status,
        stdout,
        stderr,
    })
}

/// The first bytes that come, so many at most; all are read, so that the program never waits.
async fn beginning(pipe: Option<impl AsyncRead + Unpin>, most: u64) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(most).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}

fn certificates(
    variable: impl Fn(&str) -> Option<OsString>,
) -> impl Iterator<Item = (&'static str, OsString)> {
    let known = move |(ours, gits): (&str, &'static str)| Some((gits, variable(ours)?));
    CERTIFICATES.into_iter().filter_map(known)
}

/// Whether a program was ended in this folder because it wrote a file of so many bytes.
fn has_cut_file(folder: &Path, bytes: u64) -> bool {
    let is_cut = |entry: fs::DirEntry| {
        let is_begun = entry.file_name().as_encoded_bytes().starts_with(b"tmp_");
        is_begun && entry.metadata().is_ok_and(|file| file.len() >= bytes)
    };
    fs::read_dir(folder).is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(is_cut)))
}

/// Whether a program failed for want of memory: git says so itself, or what it calls does. What it repeats of the forge's
/// words is about the forge.
fn has_no_memory(output: &Output) -> bool {
    let said = said(&output.stderr).to_lowercase();
    let words = ["out of memory", "cannot allocate memory"];
    let is_ours = |line: &&str| {
        !["remote: ", "fatal: remote error: "]
            .iter()
            .any(|it| line.starts_with(it))
    };
    let mut ours = said.lines().filter(is_ours);
    !output.status.success() && ours.any(|line| words.iter().any(|words| line.contains(words)))
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
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn want_of_memory_is_that_of_a_program_here() {
        let ours = "fatal: Out of memory, malloc failed";
        let theirs = "remote: fatal: Out of memory, malloc failed";
        for (code, said, is_ours) in [
            (1, ours.to_owned(), true),
            (1, format!("{theirs}\n{ours}"), true),
            (
                1,
                "error: mmap failed: Cannot allocate memory".to_owned(),
                true,
            ),
            (1, format!("{theirs}\nfatal: early EOF"), false),
            (
                1,
                "fatal: remote error: upload-pack: Out of memory".to_owned(),
                false,
            ),
            (1, "fatal: bad object".to_owned(), false),
            (0, ours.to_owned(), false),
        ] {
            let output = Output {
                status: ExitStatus::from_raw(code << 8),
                stdout: Vec::new(),
                stderr: said.clone().into_bytes(),
            };
            assert_eq!(has_no_memory(&output), is_ours, "{said}");
        }
    }

    #[test]
    fn git_trusts_the_certificates_that_this_process_trusts() {
        let told = |set: &[&str]| -> Vec<_> {
            let known = |name: &str| set.contains(&name).then(|| name.to_lowercase().into());
            certificates(known).collect()
        };
        let file = ("GIT_SSL_CAINFO", "ssl_cert_file".into());
        let folder = ("GIT_SSL_CAPATH", "ssl_cert_dir".into());
        assert_eq!(told(&[]), []);
        let both = [file, folder];
        assert_eq!(told(&["SSL_CERT_FILE"]), both[..1]);
        assert_eq!(told(&["SSL_CERT_FILE", "SSL_CERT_DIR"]), both);
    }

    #[tokio::test]
    async fn the_beginning_is_kept_and_all_is_read() {
        let none = None::<&[u8]>;
        assert_eq!(beginning(none, 4096).await.unwrap(), b"");
        for length in [0, 3, 4096, 4097, 100_000] {
            let bytes = vec![b'a'; length];
            let mut pipe = bytes.as_slice();
            let kept = beginning(Some(&mut pipe), 4096).await.unwrap();
            assert_eq!(kept, bytes[..length.min(4096)]);
            assert!(pipe.is_empty());
        }
    }
}
