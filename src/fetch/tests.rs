//! Fetches of a real repository, by the git program.

use std::convert::Infallible;
use std::fs;
use std::future::pending;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt, TryStreamExt, poll, stream};
use http_body_util::{BodyDataStream, BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::domain::CommitId;

mod remembered_tests;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Far beyond what any of these tests needs: it only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// No limit is reached before patience is.
const LIMITS: FetchLimits = FetchLimits {
    children_max: 4,
    per_address_max: 4,
    queue: Duration::from_secs(600),
    stall: Duration::from_secs(600),
    total: Duration::from_secs(600),
    cpu_secs: 60,
    request_bytes_max: request::REQUEST_BYTES_MAX,
    remembered_bytes_max: 0,
};

/// A bare repository that serves one commit and also holds one which is not served.
struct Repository {
    folder: TempDir,
    tip: String,
    hidden: String,
    served: Arc<Mutex<CommitId>>,
}

impl Repository {
    /// With a file of `size` bytes that do not compress.
    fn new(size: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_owned();
        let work = at.join("work");
        git(&at, &["init", "-q", "--bare", "index.git"]);
        git(&at, &["init", "-q", "-b", "main", "work"]);
        fs::write(work.join("noise"), noise(size)).unwrap();
        let tip = commit(&work, "served");
        fs::write(work.join("other"), "secret").unwrap();
        let hidden = commit(&work, "hidden");
        let served = format!("{tip}:refs/namespaces/served/refs/heads/main");
        let other = format!("{hidden}:refs/heads/main");
        // Somebody put this beside it.
        let beside = format!("{hidden}:refs/namespaces/served/refs/heads/beside");
        git(
            &work,
            &["push", "-q", "../index.git", &served, &other, &beside],
        );
        let head = "refs/namespaces/served/HEAD";
        let main = "refs/namespaces/served/refs/heads/main";
        git(&at.join("index.git"), &["symbolic-ref", head, main]);
        Self {
            folder,
            served: Arc::new(Mutex::new(tip.parse().unwrap())),
            tip,
            hidden,
        }
    }

    fn git_dir(&self) -> PathBuf {
        self.folder.path().join("index.git")
    }

    fn fetches(&self, limits: FetchLimits) -> Fetches {
        self.fetches_of(self.git_dir(), limits)
    }

    fn fetches_of(&self, git_dir: PathBuf, limits: FetchLimits) -> Fetches {
        let served = Arc::clone(&self.served);
        Fetches::new(git_dir, limits, Box::new(move || *served.lock().unwrap()))
    }

    /// A v0 request for the served commit, side band and all.
    fn request(&self) -> Bytes {
        request_of(&self.tip)
    }

    /// The ids of all processes that work in this repository, children of our own children too.
    fn processes(&self) -> Vec<String> {
        let git_dir = self.git_dir().canonicalize().unwrap();
        let works_here =
            |pid: &String| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|at| at == git_dir);
        let pids = fs::read_dir("/proc")
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let pids = pids.filter_map(|name| name.into_string().ok());
        pids.filter(works_here).collect()
    }

    /// Waits until no process works here: a killed one takes a moment to be gone.
    async fn deserted(&self) {
        let gone = async {
            while !self.processes().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, gone).await.expect("a process is left");
    }
}

fn request_of(commit: &str) -> Bytes {
    let want = format!("want {commit} side-band-64k ofs-delta\n");
    format!("{:04x}{want}00000009done\n", want.len() + 4).into()
}

fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..size.div_ceil(8)).flat_map(|_| next()).collect()
}

fn git_command(folder: &Path, arguments: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new("git");
    command
        .current_dir(folder)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env_remove("GIT_DIR")
        .envs([
            ("GIT_AUTHOR_NAME", "a"),
            ("GIT_AUTHOR_EMAIL", "a@example.com"),
        ])
        .envs([
            ("GIT_COMMITTER_NAME", "c"),
            ("GIT_COMMITTER_EMAIL", "c@example.com"),
        ]);
    command
}

fn text_of(output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    text_of(git_command(folder, arguments).output().unwrap())
}

fn commit(work: &Path, message: &str) -> String {
    git(work, &["add", "."]);
    git(work, &["commit", "-q", "-m", message]);
    git(work, &["rev-parse", "HEAD"])
}

/// Runs git beside the server of the test.
async fn git_beside(folder: &Path, arguments: &[&str]) -> String {
    let mut command = tokio::process::Command::from(git_command(folder, arguments));
    let output = timeout(PATIENCE, command.kill_on_drop(true).output()).await;
    text_of(output.unwrap().unwrap())
}

async fn whole(stream: FetchStream) -> Result<Vec<u8>, FetchFault> {
    let collected = stream.try_fold(Vec::new(), async |mut all, chunk| {
        all.extend_from_slice(&chunk);
        Ok(all)
    });
    timeout(PATIENCE, collected).await.unwrap()
}

async fn upload(
    fetches: &Fetches,
    peer: IpAddr,
    request: Bytes,
) -> Result<FetchStream, FetchFault> {
    let body = stream::iter([Ok::<_, FetchFault>(request)]);
    let answer = fetches.upload_pack(peer, GitProtocol::V0, BodyCoding::Identity, body, pending());
    timeout(PATIENCE, answer).await.unwrap()
}

/// An HTTP server of the one repository, as small as git accepts.
async fn serve(fetches: Arc<Fetches>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let fetches = Arc::clone(&fetches);
            let service = hyper::service::service_fn(move |request| {
                let fetches = Arc::clone(&fetches);
                async move { Ok::<_, Infallible>(answer(&fetches, request).await) }
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(tcp), service));
        }
    });
    address
}

async fn answer(
    fetches: &Fetches,
    request: Request<Incoming>,
) -> Response<BoxBody<Bytes, FetchFault>> {
    let header = |name| {
        request
            .headers()
            .get(name)
            .map(|value| value.as_bytes().to_vec())
    };
    let protocol = GitProtocol::from_header(header("git-protocol").as_deref());
    let coding = match header("content-encoding").as_deref() {
        Some(b"gzip") => BodyCoding::Gzip,
        _ => BodyCoding::Identity,
    };
    let path = request.uri().path().to_owned();
    let (kind, stream) = if path.ends_with("/info/refs") {
        (
            "advertisement",
            fetches.advertise(PEER, protocol, pending()).await,
        )
    } else {
        let body = BodyDataStream::new(request.into_body());
        let body = body.map_err(|fault| FetchFault::Interrupted(fault.into()));
        (
            "result",
            fetches
                .upload_pack(PEER, protocol, coding, body, pending())
                .await,
        )
    };
    let status = if stream.is_ok() {
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    };
    let chunks = match stream {
        Ok(stream) => stream.left_stream(),
        Err(fault) => stream::iter([Ok(Bytes::from(fault.to_string()))]).right_stream(),
    };
    Response::builder()
        .status(status)
        .header(
            "content-type",
            format!("application/x-git-upload-pack-{kind}"),
        )
        .body(BodyExt::boxed(StreamBody::new(chunks.map_ok(Frame::data))))
        .unwrap()
}

#[tokio::test]
async fn git_clones_and_fetches_in_every_protocol_version() {
    let repository = Repository::new(300_000);
    let fetches = Arc::new(repository.fetches(remembered_tests::LIMITS));
    let url = format!("http://{}/git", serve(Arc::clone(&fetches)).await);
    for version in ["0", "1", "2"] {
        let folder = tempfile::tempdir().unwrap();
        let protocol = format!("protocol.version={version}");
        git_beside(
            folder.path(),
            &["-c", &protocol, "clone", "-q", &url, "clone"],
        )
        .await;
        let clone = folder.path().join("clone");
        assert_eq!(
            git_beside(&clone, &["rev-parse", "HEAD"]).await,
            repository.tip
        );
        assert_eq!(
            git_beside(&clone, &["branch", "--show-current"]).await,
            "main"
        );
        let refs = git_beside(folder.path(), &["-c", &protocol, "ls-remote", &url]).await;
        let mut refs = refs.lines().collect::<Vec<_>>();
        // Without the newer protocol git shows the HEAD of a namespace twice: as HEAD, and as a ref of this name.
        refs.dedup();
        let expected =
            ["HEAD", "refs/heads/main"].map(|name| format!("{}\t{name}", repository.tip));
        assert_eq!(refs, expected, "only what is served is shown");
        // Many commits of its own: the request is large, so git packs it.
        for number in 0..40 {
            let message = format!("local {number}");
            git_beside(&clone, &["commit", "-q", "--allow-empty", "-m", &message]).await;
        }
        let newer = advance(&repository, &format!("in version {version}"));
        git_beside(&clone, &["-c", &protocol, "fetch", "-q"]).await;
        assert_eq!(
            git_beside(&clone, &["rev-parse", "origin/main"]).await,
            newer
        );
        reset(&repository);
    }
    fetches.drained().await;
    repository.deserted().await;
}

/// Serves one more commit on top of the tip, and returns its id.
fn advance(repository: &Repository, message: &str) -> String {
    let git_dir = repository.git_dir();
    let tree = format!("{}^{{tree}}", repository.tip);
    let newer = git(
        &git_dir,
        &["commit-tree", &tree, "-p", &repository.tip, "-m", message],
    );
    git(
        &git_dir,
        &[
            "update-ref",
            "refs/namespaces/served/refs/heads/main",
            &newer,
        ],
    );
    *repository.served.lock().unwrap() = newer.parse().unwrap();
    newer
}

fn reset(repository: &Repository) {
    let main = "refs/namespaces/served/refs/heads/main";
    git(
        &repository.git_dir(),
        &["update-ref", main, &repository.tip],
    );
    *repository.served.lock().unwrap() = repository.tip.parse().unwrap();
}

#[tokio::test]
async fn a_v0_advertisement_has_the_head_and_a_v2_one_has_not() {
    let repository = Repository::new(10);
    let fetches = repository.fetches(LIMITS);
    let v0 = whole(
        fetches
            .advertise(PEER, GitProtocol::V0, pending())
            .await
            .unwrap(),
    )
    .await
    .unwrap();
    assert!(v0.starts_with(b"001e# service=git-upload-pack\n0000"));
    let text = String::from_utf8_lossy(&v0);
    assert!(
        text.contains(&repository.tip) && !text.contains(&repository.hidden),
        "{text}"
    );
    assert!(
        !text.contains("filter") && !text.contains("allow-"),
        "{text}"
    );
    let v2 = whole(
        fetches
            .advertise(PEER, GitProtocol::V2, pending())
            .await
            .unwrap(),
    )
    .await
    .unwrap();
    assert!(v2.starts_with(b"000eversion 2\n"));
    assert!(!String::from_utf8_lossy(&v2).contains("filter"));
}

#[test]
fn only_exact_protocol_versions_count() {
    let of = |value: &str| GitProtocol::from_header(Some(value.as_bytes()));
    assert_eq!(of("version=2"), GitProtocol::V2);
    assert_eq!(of("version=1"), GitProtocol::V1);
    for other in [
        "",
        "version=0",
        "version=22",
        "version=2:x=y",
        " version=2",
        "Version=2",
    ] {
        assert_eq!(of(other), GitProtocol::V0, "{other}");
    }
    assert_eq!(GitProtocol::from_header(None), GitProtocol::V0);
}

#[tokio::test]
async fn a_full_pool_is_busy_until_a_place_is_free() {
    let repository = Repository::new(8_000_000);
    let one = FetchLimits {
        children_max: 1,
        per_address_max: 1,
        queue: Duration::from_millis(50),
        ..LIMITS
    };
    let fetches = repository.fetches(one);
    // Not read further, so its process cannot end.
    let held = upload(&fetches, PEER, repository.request()).await.unwrap();
    assert!(!repository.processes().is_empty());
    let other_peer = IpAddr::from([127, 0, 0, 2]);
    for peer in [PEER, other_peer] {
        let refused = upload(&fetches, peer, repository.request())
            .await
            .err()
            .unwrap();
        assert!(
            matches!(refused, FetchFault::Busy { retry_secs: 1 }),
            "{refused}"
        );
        assert!(
            fetches
                .advertise(peer, GitProtocol::V2, pending())
                .await
                .is_err()
        );
    }
    drop(held);
    timeout(PATIENCE, fetches.drained()).await.unwrap();
    repository.deserted().await;
    let pack = whole(
        upload(&fetches, other_peer, repository.request())
            .await
            .unwrap(),
    )
    .await;
    assert!(pack.unwrap().len() > 8_000_000);
}

#[tokio::test]
async fn a_process_has_its_cpu_limit_and_no_variable_of_ours() {
    let repository = Repository::new(8_000_000);
    let limits = FetchLimits {
        cpu_secs: 7,
        ..LIMITS
    };
    let fetches = repository.fetches(limits);
    let _held = upload(&fetches, PEER, repository.request()).await.unwrap();
    let processes = repository.processes();
    assert!(!processes.is_empty());
    for pid in processes {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let cpu = limits.lines().find(|line| line.starts_with("Max cpu time"));
        let numbers = cpu.unwrap().split_whitespace().skip(3).take(2);
        assert_eq!(numbers.collect::<Vec<_>>(), ["7", "8"]);
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
        let environment = String::from_utf8(environment).unwrap();
        assert!(
            environment.contains("GIT_NAMESPACE=served"),
            "{environment}"
        );
        // Cargo sets this one for every test.
        assert!(!environment.contains("CARGO_MANIFEST_DIR"), "{environment}");
    }
}

#[tokio::test]
async fn one_address_cannot_take_the_whole_pool() {
    let repository = Repository::new(8_000_000);
    let two = FetchLimits {
        children_max: 2,
        per_address_max: 1,
        queue: Duration::from_millis(50),
        ..LIMITS
    };
    let fetches = repository.fetches(two);
    let _held = upload(&fetches, PEER, repository.request()).await.unwrap();
    let refused = upload(&fetches, PEER, repository.request())
        .await
        .err()
        .unwrap();
    assert!(matches!(refused, FetchFault::Busy { .. }), "{refused}");
    let other = upload(&fetches, [127, 0, 0, 2].into(), repository.request()).await;
    whole(other.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_stalled_client_loses_its_process() {
    let repository = Repository::new(8_000_000);
    let hasty = FetchLimits {
        stall: Duration::from_millis(100),
        ..LIMITS
    };
    let fetches = repository.fetches(hasty);
    let held = upload(&fetches, PEER, repository.request()).await.unwrap();
    timeout(PATIENCE, fetches.drained()).await.unwrap();
    repository.deserted().await;
    let ended = whole(held).await;
    assert!(matches!(ended, Err(FetchFault::Stalled)), "{ended:?}");
}

#[tokio::test]
async fn a_process_that_computes_on_ends_with_its_client() {
    let repository = Repository::new(8_000_000);
    let fetches = repository.fetches(LIMITS);
    let held = upload(&fetches, PEER, repository.request()).await.unwrap();
    // The pack is made by a process of the process, which starts after the first bytes.
    let pids = loop {
        let pids = repository.processes();
        if pids.len() > 1 {
            break pids;
        }
        tokio::task::yield_now().await;
    };
    // Stopped processes notice no closed pipe: only being killed ends them.
    for pid in pids {
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    }
    drop(held);
    timeout(PATIENCE, fetches.drained()).await.unwrap();
    repository.deserted().await;
}

#[tokio::test]
async fn an_answer_ends_at_its_total_time() {
    let repository = Repository::new(8_000_000);
    let brief = FetchLimits {
        total: Duration::from_millis(100),
        ..LIMITS
    };
    let fetches = repository.fetches(brief);
    // The fault comes with the first bytes or after them: either way it comes.
    let ended = match upload(&fetches, PEER, repository.request()).await {
        Ok(held) => {
            timeout(PATIENCE, fetches.drained()).await.unwrap();
            whole(held).await
        }
        Err(fault) => Err(fault),
    };
    assert!(matches!(ended, Err(FetchFault::Stalled)), "{ended:?}");
}

#[tokio::test]
async fn a_malformed_request_starts_no_process() {
    let repository = Repository::new(10);
    // A folder that is no repository: a process would fail in another way.
    let fetches = repository.fetches_of(repository.folder.path().join("none"), LIMITS);
    for lie in ["", "0003", "ffffwant ", "0009have\n", "{\"json\":true}"] {
        let refused = upload(&fetches, PEER, Bytes::from_static(lie.as_bytes())).await;
        let refused = refused.err().unwrap();
        assert!(
            matches!(refused, FetchFault::Malformed(_)),
            "{lie}: {refused}"
        );
    }
    let tiny = FetchLimits {
        request_bytes_max: 20,
        ..LIMITS
    };
    let refused = upload(&repository.fetches(tiny), PEER, repository.request()).await;
    assert!(matches!(
        refused,
        Err(FetchFault::TooLarge { bytes_max: 20 })
    ));
}

#[tokio::test]
async fn what_git_does_not_understand_is_the_clients_fault() {
    let repository = Repository::new(10);
    let fetches = repository.fetches(LIMITS);
    let line = |text: &str| format!("{:04x}{text}\n", text.len() + 5);
    let fetch = line("command=fetch");
    let want = line(&format!("want {}", repository.tip));
    for (request, words) in [
        (format!("{}0000", line("command=foo")), "foo"),
        (format!("{fetch}{}0001{want}0000", line("nope=1")), "nope=1"),
        (format!("{fetch}0001{want}{}0000", line("hello")), "hello"),
        (format!("{fetch}0001{want}{}0000", line("deepen -1")), "-1"),
        (
            format!("{fetch}{}0001{want}0000", line("object-format=sha256")),
            "sha256",
        ),
        (format!("{fetch}0001{}0000", line("want zz")), "zz"),
        (format!("{fetch}0001{want}{}0000", line("have 12")), "12"),
        (format!("{fetch}0001{want}{}0000", line("shallow 12")), "12"),
    ] {
        let body = stream::iter([Ok::<_, FetchFault>(request.into())]);
        let answer =
            fetches.upload_pack(PEER, GitProtocol::V2, BodyCoding::Identity, body, pending());
        let fault = answer.await.err().unwrap();
        assert!(
            matches!(&fault, FetchFault::NotUnderstood(said) if said.contains(words)),
            "{fault}"
        );
    }
}

#[tokio::test]
async fn few_large_requests_are_in_memory_at_a_time_and_small_ones_always() {
    let repository = Repository::new(10);
    let fetches = repository.fetches(FetchLimits {
        per_address_max: 2 * LARGE_MAX,
        queue: Duration::from_millis(50),
        ..LIMITS
    });
    let large = || Bytes::from(vec![b'0'; SMALL_BYTES_MAX + 1]);
    let begin = |bytes, coding| {
        let body = stream::iter([Ok::<_, FetchFault>(bytes)]).chain(stream::pending());
        Box::pin(fetches.upload_pack(PEER, GitProtocol::V0, coding, body, pending()))
    };
    let mut held: Vec<_> = (0..LARGE_MAX)
        .map(|_| begin(large(), BodyCoding::Identity))
        .collect();
    for large in &mut held {
        assert!(poll!(large).is_pending());
    }
    // Much, and packed to little, whose end does not come.
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&vec![b'0'; REQUEST_BYTES_MAX]).unwrap();
    packed.flush().unwrap();
    let packed = Bytes::copy_from_slice(packed.get_ref());
    for (bytes, coding) in [(large(), BodyCoding::Identity), (packed, BodyCoding::Gzip)] {
        let refused = timeout(PATIENCE, begin(bytes, coding)).await.unwrap();
        assert!(matches!(refused, Err(FetchFault::Busy { .. })));
    }
    let answered = upload(&fetches, PEER, repository.request()).await.unwrap();
    assert!(!whole(answered).await.unwrap().is_empty());
    drop(held);
    let judged = upload(&fetches, PEER, large()).await;
    assert!(matches!(judged, Err(FetchFault::Malformed(_))));
}

#[tokio::test]
async fn a_process_that_fails_at_once_is_an_error() {
    let repository = Repository::new(10);
    let fetches = repository.fetches_of(repository.folder.path().join("none"), LIMITS);
    let failed = fetches
        .advertise(PEER, GitProtocol::V0, pending())
        .await
        .err()
        .unwrap();
    assert!(matches!(failed, FetchFault::Failed), "{failed}");
}

#[tokio::test]
async fn a_want_that_is_not_served_is_told_in_gits_own_words() {
    let repository = Repository::new(10);
    let fetches = repository.fetches(LIMITS);
    let want = format!("0032want {}\n00000009done\n", repository.hidden);
    let told = whole(upload(&fetches, PEER, want.into()).await.unwrap())
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("ERR upload-pack: not our ref"), "{told}");
}

#[tokio::test]
async fn dropping_the_pool_ends_its_processes() {
    let repository = Repository::new(8_000_000);
    let fetches = repository.fetches(LIMITS);
    let held = upload(&fetches, PEER, repository.request()).await.unwrap();
    assert!(!repository.processes().is_empty());
    drop(fetches);
    repository.deserted().await;
    let ended = whole(held).await;
    assert!(matches!(ended, Err(FetchFault::Failed)), "{ended:?}");
}

#[tokio::test]
async fn those_who_wait_and_those_who_are_refused_are_counted() {
    let repository = Repository::new(8_000_000);
    let one = FetchLimits {
        children_max: 1,
        per_address_max: 4,
        ..LIMITS
    };
    let fetches = repository.fetches(one);
    assert_eq!(fetches.running(), 0);
    let held = upload(&fetches, PEER, repository.request()).await.unwrap();
    assert_eq!(fetches.running(), 1);
    let waiting = || fetches.measures().waiting.get();
    let mut patient = Box::pin(upload(&fetches, PEER, repository.request()));
    while waiting() == 0 {
        assert!(futures_util::poll!(&mut patient).is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(waiting(), 1);
    drop(patient);
    assert_eq!(waiting(), 0, "one that leaves waits no more");
    assert_eq!(fetches.measures().refused.get(), 0);
    let now = FetchLimits {
        queue: Duration::ZERO,
        ..one
    };
    let impatient = Fetches {
        limits: now,
        ..fetches
    };
    assert!(
        upload(&impatient, PEER, repository.request())
            .await
            .is_err()
    );
    assert_eq!(impatient.measures().refused.get(), 1);
    drop(held);
    timeout(PATIENCE, impatient.drained()).await.unwrap();
    assert_eq!(impatient.running(), 0);
}
