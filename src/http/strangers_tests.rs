//! Requests of strangers to a registry with a forge, whose bodies nobody can judge before they have come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::serve::ServeLimits;
use super::*;
use crate::app::App;
use crate::auth::{Gate, Holds, IssuerNames};
use crate::config::{Arguments, Config, Environment, ForgeConfig};
use crate::forge::{Forge, ForgeLimits, KeyPatience, Robot};

/// Far beyond what any of these tests needs: it only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(60);
const PLACES: usize = 16;
/// As many large events as are read at one time.
const TURNS: usize = 8;

const GET: &str = "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
const EXCHANGE: &str = "POST /crates/api/v1/trusted_publishing/tokens HTTP/1.1\r\nhost: a\r\n";

struct Bench {
    address: SocketAddr,
    app: Arc<App>,
    server: JoinHandle<()>,
    _folder: TempDir,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Bench {
    /// A registry whose forge nobody has to ask here.
    async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// The same, once `change` was done to it.
    async fn start_with(change: impl FnOnce(&mut App)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments = Arguments {
            data: Some(folder.path().join("data")),
            ..Arguments::default()
        };
        let config = Config::load(&arguments, &Environment::default(), folder.path()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = ServeLimits {
            connections_max: PLACES,
            ..ServeLimits::from(&config.http)
        };
        let mut app = App::open(config, address).unwrap();
        let forge = forge(&folder);
        app.gate = Some(gate(&forge));
        app.config.forge = Some(forge);
        change(&mut app);
        let app = Arc::new(app);
        let routes = routes(Arc::clone(&app));
        let server = tokio::spawn(serve(listener, routes, limits, std::future::pending()));
        Self {
            address,
            app,
            server,
            _folder: folder,
        }
    }

    async fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }
}

fn forge(folder: &TempDir) -> ForgeConfig {
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "correct horse battery staple").unwrap();
    let url: crate::domain::PublicUrl = "http://localhost:1".parse().unwrap();
    ForgeConfig {
        issuer: url.clone(),
        url,
        repository: "acme/crates".parse().unwrap(),
        token_file: None,
        webhook_secret_file: Some(secret),
        client_id: None,
        reviewers: None,
        told_at: None,
        poll_secs: 30,
        unreachable_secs: 0,
    }
}

fn gate(config: &ForgeConfig) -> Arc<Gate> {
    let names = IssuerNames {
        root: config.url.to_string(),
        client_id: None,
        audience: "http://localhost".to_owned(),
    };
    let forge = Forge::new(&config.url, Robot::None, ForgeLimits::default());
    let holds = Holds::with_unreachable(Duration::ZERO);
    let (index, patience) = (config.repository.clone(), KeyPatience::default());
    Arc::new(Gate::new(Arc::new(forge), index, names, holds, patience))
}

/// An event with a signature that its body will not have.
fn event(length: usize) -> String {
    let tag = "0".repeat(64);
    format!(
        "POST /crates/webhook HTTP/1.1\r\nhost: a\r\nx-hub-signature-256: sha256={tag}\r\n\
         expect: 100-continue\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// What comes up to the end of a head.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let reading = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    };
    timeout(PATIENCE, reading).await.expect("no answer");
    String::from_utf8(head).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_trickle_give_way_to_other_clients() {
    let bench = Bench::start().await;
    for head_of_slow in [
        format!("{EXCHANGE}content-length: 1000\r\n\r\n"),
        event(1000),
    ] {
        let mut slow = Vec::new();
        for _ in 0..PLACES {
            let mut stream = bench.send(&head_of_slow).await;
            stream.write_all(b"{").await.unwrap();
            slow.push(stream);
        }
        let mut other = bench.send(GET).await;
        let answer = head(&mut other).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_strangers_come_soon_or_give_way() {
    const LENGTH: usize = 64_000;
    let bench = Bench::start().await;
    for head_of_slow in [
        format!("{EXCHANGE}content-length: {LENGTH}\r\n\r\n"),
        event(LENGTH).replace("expect: 100-continue\r\n", ""),
    ] {
        let mut slow = Vec::new();
        for _ in 0..PLACES {
            slow.push(bench.send(&head_of_slow).await);
        }
        let mut other = bench.send(GET).await;
        // Each gives ten kilobytes a second, and would be done before its time is over.
        let givers = slow.into_iter().map(|mut stream| {
            tokio::spawn(async move {
                for _ in 0..LENGTH / 1000 {
                    // Whoever has lost its place cannot go on.
                    if stream.write_all(&[b' '; 1000]).await.is_err() {
                        break;
                    }
                    sleep(Duration::from_millis(100)).await;
                }
                stream
            })
        });
        let givers: Vec<_> = givers.collect();
        assert!(head(&mut other).await.starts_with("HTTP/1.1 200"));
        for giver in givers {
            let answer = head(&mut giver.await.unwrap()).await;
            assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_that_wait_for_their_turn_give_way_to_other_clients() {
    // Nothing but the need for their places ends them.
    let wait = |app: &mut App| {
        let catalog = Arc::get_mut(&mut app.catalog).unwrap();
        catalog.let_wait(Duration::from_secs(600));
    };
    let bench = Bench::start_with(wait).await;
    let turns = bench.app.catalog.all_turns().await;
    for path in [
        "/crates/api/v1/crates?q=a",
        "/crates/?q=a",
        "/crates/repositories/1",
    ] {
        let ask = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        let mut waiting = Vec::new();
        for _ in 0..2 * PLACES {
            waiting.push(bench.send(&ask).await);
        }
        let mut other = bench.send(GET).await;
        let answer = head(&mut other).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        for stream in &mut waiting[..PLACES] {
            let answer = head(stream).await;
            assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
            assert!(answer.contains("retry-after: 1"), "{answer}");
        }
    }
    drop(turns);
    let found = "GET /crates/api/v1/crates?q=a HTTP/1.1\r\nhost: a\r\n\r\n";
    let answer = head(&mut bench.send(found).await).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn few_large_events_are_read_at_a_time_and_small_ones_always() {
    let bench = Bench::start().await;
    let large = event(1 << 20);
    let mut reading = Vec::new();
    for _ in 0..TURNS {
        let mut stream = bench.send(&large).await;
        // Its body is wanted: it has its turn.
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 100"));
        reading.push(stream);
    }
    let chunked = large.replace("content-length: 1048576", "transfer-encoding: chunked");
    for one_more in [&large, &chunked] {
        let refusal = head(&mut bench.send(one_more).await).await;
        assert!(refusal.starts_with("HTTP/1.1 503"), "{refusal}");
        assert!(refusal.contains("retry-after: 1"), "{refusal}");
    }
    let mut small = bench.send(&event(2)).await;
    assert!(head(&mut small).await.starts_with("HTTP/1.1 100"));
    small.write_all(b"{}").await.unwrap();
    assert!(head(&mut small).await.starts_with("HTTP/1.1 401"));
    // Whoever leaves makes room.
    drop(reading.pop());
    let mut next = bench.send(&large).await;
    assert!(head(&mut next).await.starts_with("HTTP/1.1 100"));
}
