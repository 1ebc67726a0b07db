//! A forge for tests: git's own programs over HTTP, and whatever trouble is asked for.

use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use reqwest::header::HeaderValue;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::domain::ForgePaths;

use super::Upstream;

/// What happens to a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The connection ends before anything is done.
    CutBefore,
    /// It is done, and the connection ends before the answer.
    CutAfter,
    /// It is done, somebody puts a commit on top, and the connection ends before the answer.
    CutBelowOthers,
    /// The connection ends, and it is done once the branch was looked at.
    Late,
    /// It is done, and this is answered in the forge's place.
    StatusAfter(u16),
    /// The same, and the forge is down from then on.
    DownAfter(u16),
    /// Nothing but this is answered.
    Status(u16),
    /// Two minutes without a question are asked for.
    Wait,
    /// It is done, and the same is asked for.
    WaitAfter,
    /// A page for people is answered.
    Page,
    /// Somebody else's push comes first: that of the branch `other`.
    Overtake,
}

#[derive(Default)]
struct State {
    trouble: VecDeque<Trouble>,
    /// A push that is still on its way.
    late: Option<Bytes>,
    is_down: bool,
    /// Whether of what is fetched only the first half comes.
    cuts_fetches: bool,
    pushes: usize,
    /// The names that the repository had, and to what each was changed.
    renamed: Vec<(String, String)>,
}

/// A forge with one empty repository; it ends with the runtime of the test.
pub(crate) struct Forge {
    folder: TempDir,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Forge {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("crates.git");
        git(
            folder.path(),
            &["init", "--quiet", "--bare", "-b", "main", "crates.git"],
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (state, repository) = (Arc::clone(&shared), repository.clone());
                let service = service_fn(move |request| {
                    answer(request, repository.clone(), Arc::clone(&state))
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self {
            folder,
            address,
            state,
        }
    }

    /// Its repository for a server.
    pub(crate) fn upstream(&self) -> Upstream {
        let url = format!("http://{}/acme/crates.git", self.address);
        let pair = BASE64_STANDARD.encode("sidecargo:good");
        let token = HeaderValue::from_str(&format!("Basic {pair}")).unwrap();
        let poll = Duration::from_secs(60);
        Upstream::new(&url, Arc::new(move || Ok(token.clone())), poll).unwrap()
    }

    /// The same where a proxy shows the forge to people at `issuer`.
    pub(crate) fn upstream_shown_at(&self, issuer: &str) -> Upstream {
        let url = format!("http://{}", self.address).parse().unwrap();
        let paths = ForgePaths::new(&url, &issuer.parse().unwrap());
        self.upstream().below(paths)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("crates.git")
    }

    pub(crate) fn git(&self, words: &[&str]) -> String {
        git(&self.path(), words)
    }

    pub(crate) fn tip(&self) -> String {
        self.git(&["rev-parse", "refs/heads/main"])
    }

    /// What happens to the next pushes.
    pub(crate) fn expect(&self, trouble: &[Trouble]) {
        self.state.lock().unwrap().trouble.extend(trouble);
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.state.lock().unwrap().is_down = is_down;
    }

    /// Lets only the first half of what is fetched come, or all again.
    pub(crate) fn cut_fetches(&self, cuts: bool) {
        self.state.lock().unwrap().cuts_fetches = cuts;
    }

    /// How many pushes came.
    pub(crate) fn pushes(&self) -> usize {
        self.state.lock().unwrap().pushes
    }

    /// Gives the repository another name; at this one clients are told of it.
    pub(crate) fn rename(&self, from: &str, to: &str) {
        let renamed = (from.to_owned(), to.to_owned());
        self.state.lock().unwrap().renamed.push(renamed);
    }

    /// A hook that judges each push.
    pub(crate) fn hook(&self, script: &str) {
        let path = self.path().join("hooks/pre-receive");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Makes a commit on `parent` with a file of so many bytes of noise at `path`, and nothing else.
    pub(crate) fn commit_noise(&self, parent: &str, path: &str, bytes: usize) -> String {
        let mut noise = vec![0; bytes];
        getrandom::fill(&mut noise).unwrap();
        self.commit_file(parent, path, &noise)
    }

    /// Makes a commit on `parent` with a file of these bytes at `path`, and nothing else.
    pub(crate) fn commit_file(&self, parent: &str, path: &str, bytes: &[u8]) -> String {
        let file = self.folder.path().join("file");
        fs::write(&file, bytes).unwrap();
        let blob = self.git(&["hash-object", "-w", file.to_str().unwrap()]);
        let index = self.folder.path().join("file-index");
        let _ = fs::remove_file(&index);
        let git = |words: &[&str]| {
            let output = std::process::Command::new("git")
                .current_dir(self.path())
                .args(["-c", "user.name=Bob", "-c", "user.email=bob@example.com"])
                .args(words)
                .env("GIT_INDEX_FILE", &index)
                .output()
                .unwrap();
            assert!(output.status.success(), "git {words:?}: {output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        git(&["read-tree", parent]);
        git(&[
            "update-index",
            "--add",
            "--cacheinfo",
            "100644",
            &blob,
            path,
        ]);
        let tree = git(&["write-tree"]);
        git(&["commit-tree", "-p", parent, "-m", "edit by hand", &tree])
    }

    /// Commits to the branch what a person would: the file at `path` with `from` replaced by `to`.
    pub(crate) fn edit(&self, branch: &str, path: &str, from: &str, to: &str) -> String {
        let clone = self.folder.path().join("clone");
        let _ = fs::remove_dir_all(&clone);
        git(
            self.folder.path(),
            &["clone", "--quiet", "crates.git", "clone"],
        );
        let file = clone.join(path);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        let who = ["-c", "user.name=Bob", "-c", "user.email=bob@example.com"];
        let commit = ["commit", "--quiet", "--all", "-m", "edit by hand"];
        git(&clone, &[who.as_slice(), commit.as_slice()].concat());
        git(
            &clone,
            &[
                "push",
                "--quiet",
                "origin",
                &format!("+HEAD:refs/heads/{branch}"),
            ],
        );
        git(&clone, &["rev-parse", "HEAD"])
    }
}

fn git(folder: &Path, words: &[&str]) -> String {
    let output = std::process::Command::new("git")
        .current_dir(folder)
        .args(words)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {words:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

type Answer = Result<Response<Full<Bytes>>, std::io::Error>;

async fn answer(
    request: Request<Incoming>,
    repository: PathBuf,
    state: Arc<Mutex<State>>,
) -> Answer {
    let cut = || std::io::Error::other("cut");
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let is_push = path.ends_with("/git-receive-pack");
    let (is_down, cuts_fetches, renamed, trouble) = {
        let mut state = state.lock().unwrap();
        let trouble = is_push.then(|| state.trouble.pop_front()).flatten();
        state.pushes += usize::from(is_push);
        let renamed = state.renamed.clone();
        (state.is_down, state.cuts_fetches, renamed, trouble)
    };
    if is_down {
        return Err(cut());
    }
    let told = { renamed.iter() }.find_map(|(from, to)| {
        let rest = path.strip_prefix(&format!("/{from}/"))?;
        Some(format!("/{to}/{rest}?{query}"))
    });
    if let Some(place) = told {
        let response = Response::builder().status(301).header("Location", place);
        return Ok(response.body(Full::default()).unwrap());
    }
    let token = BASE64_STANDARD.encode("sidecargo:good");
    let sent = head.headers.get("Authorization");
    if sent.is_none_or(|sent| sent.as_bytes() != format!("Basic {token}").as_bytes()) {
        return Ok(plain(401, "Unauthorized"));
    }
    match trouble {
        Some(Trouble::CutBefore) => return Err(cut()),
        Some(Trouble::Status(status)) => return Ok(plain(status, "no\u{1b}[31m\nmore")),
        Some(Trouble::Wait) => return Ok(wait()),
        Some(Trouble::Page) => return Ok(plain(200, "<html>Sign-In Prohibited</html>")),
        Some(Trouble::Overtake) => {
            git(
                &repository,
                &["update-ref", "refs/heads/main", "refs/heads/other"],
            );
        }
        _ => {}
    }
    let body = body
        .collect()
        .await
        .map_err(std::io::Error::other)?
        .to_bytes();
    if trouble == Some(Trouble::Late) {
        state.lock().unwrap().late = Some(body);
        return Err(cut());
    }
    let protocol = head.headers.get("Git-Protocol");
    let protocol = protocol.map(|value| value.to_str().unwrap().to_owned());
    let service = match path.rsplit_once('/').unwrap().1 {
        "refs" => query.strip_prefix("service=").unwrap().to_owned(),
        service => service.to_owned(),
    };
    let is_advertisement = path.ends_with("/info/refs");
    let is_fetch = body.windows(13).any(|word| word == b"command=fetch");
    let mut answer = run(&repository, &service, is_advertisement, protocol, body).await;
    let late = state.lock().unwrap().late.take();
    if let Some(push) = late {
        run(&repository, "git-receive-pack", false, None, push).await;
    }
    if cuts_fetches && is_fetch {
        answer.truncate(answer.len() / 2);
    }
    if trouble == Some(Trouble::CutBelowOthers) {
        let who = ["-c", "user.name=Bob", "-c", "user.email=bob@example.com"];
        let more = ["commit-tree", "-p", "main", "-m", "more", "main^{tree}"];
        let more = git(&repository, &[who.as_slice(), &more].concat());
        git(&repository, &["update-ref", "refs/heads/main", &more]);
    }
    match trouble {
        Some(Trouble::WaitAfter) => return Ok(wait()),
        Some(Trouble::StatusAfter(status)) => return Ok(plain(status, "blocked")),
        Some(Trouble::DownAfter(status)) => {
            state.lock().unwrap().is_down = true;
            return Ok(plain(status, "blocked"));
        }
        Some(Trouble::CutAfter | Trouble::CutBelowOthers) => return Err(cut()),
        _ => {}
    }
    let kind = match is_advertisement {
        true => format!("application/x-{service}-advertisement"),
        false => format!("application/x-{service}-result"),
    };
    let response = Response::builder().header("Content-Type", kind);
    Ok(response.body(Full::from(answer)).unwrap())
}

fn wait() -> Response<Full<Bytes>> {
    let mut wait = plain(429, "wait");
    let headers = wait.headers_mut();
    headers.insert("Retry-After", "120".parse().unwrap());
    wait
}

fn plain(status: u16, text: &'static str) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status);
    let response = response.header("Content-Type", "text/html");
    response.body(Full::from(text)).unwrap()
}

async fn run(
    repository: &Path,
    service: &str,
    is_advertisement: bool,
    protocol: Option<String>,
    body: Bytes,
) -> Vec<u8> {
    let mut command = tokio::process::Command::new("git");
    command
        .arg(service.strip_prefix("git-").unwrap())
        .arg("--stateless-rpc")
        .args(is_advertisement.then_some("--http-backend-info-refs"))
        .arg(repository)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(protocol) = &protocol {
        command.env("GIT_PROTOCOL", protocol);
    }
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // One that refuses does not read to the end.
    let feed = async {
        let _ = stdin.write_all(&body).await;
        drop(stdin);
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    let mut answer = Vec::new();
    if is_advertisement && protocol.as_deref() != Some("version=2") {
        let line = format!("# service={service}\n");
        answer.extend(format!("{:04x}{line}0000", line.len() + 4).into_bytes());
    }
    answer.extend(output.unwrap().stdout);
    answer
}
