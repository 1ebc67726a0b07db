//! The server over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::instrument::WithSubscriber;
use tracing::level_filters::LevelFilter;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;

use super::answered::Answered;
use super::body::{BodyFault, BodyLimits};
use super::context::{Asked, Response};
use super::envelope::envelope;
use super::proxies::Proxies;
use super::*;
use crate::config::HttpConfig;

/// Far beyond what any of these tests needs: it only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(60);
/// The limit under test, where one is.
const SHORT: Duration = Duration::from_millis(200);

const UNHURRIED: ServeLimits = ServeLimits {
    header: Duration::from_secs(600),
    response_idle: Duration::from_secs(600),
    connections_max: 100,
    shutdown: Duration::from_secs(600),
};

/// For so many connections at one time.
fn places(connections_max: usize) -> ServeLimits {
    ServeLimits {
        connections_max,
        ..UNHURRIED
    }
}

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Server {
    async fn start(limits: ServeLimits, routes: BoxedFilter<(Response,)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, limits, routes)
    }

    fn start_on(
        listener: TcpListener,
        limits: ServeLimits,
        routes: BoxedFilter<(Response,)>,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            stopped.await.unwrap();
        };
        // The task takes the subscriber of its test along.
        let routes = Routes {
            filter: routes,
            outside: Arc::new(Answered::new().by_none()),
            connections: crate::measure::level("connections", "Connections."),
            proxies: Proxies::default(),
        };
        let task = serve(listener, routes, limits, shutdown).with_current_subscriber();
        let ended = tokio::spawn(task);
        Self {
            address,
            stop,
            ended,
        }
    }

    async fn connect(&self) -> Client {
        Client {
            tcp: TcpStream::connect(self.address).await.unwrap(),
            read: Vec::new(),
        }
    }

    async fn ask(&self, request: &str) -> Answer {
        let mut client = self.connect().await;
        client.send(request).await;
        client.answer().await
    }
}

struct Client {
    tcp: TcpStream,
    read: Vec<u8>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Client {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.tcp.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads until the bytes so far pass `is_enough`; false at the end of the connection.
    async fn read_until(&mut self, is_enough: impl Fn(&[u8]) -> bool) -> bool {
        let reading = async {
            while !is_enough(&self.read) {
                if self.tcp.read_buf(&mut self.read).await.unwrap() == 0 {
                    return false;
                }
            }
            true
        };
        timeout(PATIENCE, reading)
            .await
            .expect("the server is silent")
    }

    async fn answer(&mut self) -> Answer {
        let head_ends = |read: &[u8]| read.windows(4).any(|four| four == b"\r\n\r\n");
        assert!(self.read_until(head_ends).await, "no answer");
        let text = String::from_utf8(self.read.clone()).unwrap();
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse::<usize>().unwrap());
        let whole = head.len() + 4 + length;
        assert!(
            self.read_until(|read| read.len() >= whole).await,
            "half an answer"
        );
        let rest = self.read.split_off(whole);
        let body = self.read.split_off(head.len() + 4);
        self.read = rest;
        Answer {
            status: head["http/1.1 ".len()..][..3].parse().unwrap(),
            head,
            body: String::from_utf8(body).unwrap(),
        }
    }

    async fn assert_closed(&mut self) {
        assert!(
            !self.read_until(|read| !read.is_empty()).await,
            "it answered"
        );
    }
}

fn hello() -> BoxedFilter<(Response,)> {
    warp::any().map(|| Response::new("hello".into())).boxed()
}

/// Answers with the size of the body, or with how it failed.
fn measure(limits: BodyLimits) -> BoxedFilter<(Response,)> {
    warp::body::stream()
        .and(warp::ext::get::<Arc<Asked>>())
        .then(move |chunks, asked: Arc<Asked>| async move {
            let length = asked.headers.get("content-length");
            let length = length.map(|length| length.to_str().unwrap().parse().unwrap());
            let read = match limits.admit(length) {
                Ok(()) => limits.bound(chunks).read_all().await,
                Err(fault) => Err(fault),
            };
            match read {
                Ok(body) => Response::new(body.len().to_string().into()),
                Err(fault @ BodyFault::TooLarge { .. }) => {
                    envelope(StatusCode::PAYLOAD_TOO_LARGE, &fault.to_string())
                }
                Err(fault @ BodyFault::TooSlow { .. }) => {
                    envelope(StatusCode::REQUEST_TIMEOUT, &fault.to_string())
                }
                Err(fault) => envelope(StatusCode::BAD_REQUEST, &fault.to_string()),
            }
        })
        .boxed()
}

const BODIES: BodyLimits = BodyLimits {
    bytes_max: 1000,
    idle: Duration::from_secs(600),
    total: Duration::from_secs(600),
};

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn a_slow_head_an_idle_and_a_silent_connection_are_closed() {
    let limits = ServeLimits {
        header: SHORT,
        ..UNHURRIED
    };
    let server = Server::start(limits, hello()).await;
    let mut slow = server.connect().await;
    slow.send("GET / HTTP/1.1\r\nhost: x").await;
    let mut silent = server.connect().await;
    let mut idle = server.connect().await;
    idle.send(GET).await;
    assert_eq!(idle.answer().await.body, "hello");
    slow.assert_closed().await;
    silent.assert_closed().await;
    idle.assert_closed().await;
}

#[tokio::test]
async fn an_answer_is_whole_although_the_request_was_not() {
    const BYTES: usize = 100_000;
    // The kernel takes a little at a time, and hyper holds the rest.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let large = warp::any().map(|| Response::new("x".repeat(BYTES).into()));
    let server = Server::start_on(socket.listen(8).unwrap(), UNHURRIED, large.boxed());
    for body in ["content-length: 5", "transfer-encoding: chunked"] {
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\n{body}\r\n\r\n");
        let answer = server.ask(&request).await;
        assert_eq!(answer.body.len(), BYTES);
    }
}

#[tokio::test]
async fn a_stalled_body_is_an_answer() {
    let limits = BodyLimits {
        idle: SHORT,
        ..BODIES
    };
    let server = Server::start(UNHURRIED, measure(limits)).await;
    let request = "PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345";
    let answer = server.ask(request).await;
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(answer.body.contains("stopped for 200ms"), "{answer:?}");
}

#[test]
fn a_small_body_has_seconds_or_less() {
    let mut config = HttpConfig::default();
    assert!(BodyLimits::of_small(1, &config).total <= Duration::from_secs(10));
    config.body_total_secs = 1;
    assert_eq!(
        BodyLimits::of_small(1, &config),
        BodyLimits::new(1, &config)
    );
}

#[tokio::test]
async fn a_body_ends_at_its_total_time_however_steadily_it_trickles() {
    let limits = BodyLimits {
        total: SHORT,
        ..BODIES
    };
    let trickle = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Some((Ok::<_, std::io::Error>(Bytes::new()), ()))
    });
    let mut body = limits.bound(trickle);
    let fault = loop {
        match body.next().await.unwrap() {
            Ok(_) => {}
            Err(fault) => break fault,
        }
    };
    assert!(matches!(fault, BodyFault::TooSlow { total: SHORT, .. }));
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn a_body_ends_at_its_size_and_at_a_fault() {
    let chunks = |sizes: &[usize]| {
        let chunks = sizes.iter().map(|size| match size {
            0 => Err(std::io::Error::other("broken")),
            size => Ok(Bytes::from(vec![0; *size])),
        });
        stream::iter(chunks.collect::<Vec<_>>())
    };
    let read = |sizes| BODIES.bound(chunks(sizes)).read_all();
    assert_eq!(read(&[400, 600]).await.unwrap().len(), 1000);
    let over = read(&[400, 601]).await;
    assert!(matches!(over, Err(BodyFault::TooLarge { bytes_max: 1000 })));
    let broken = read(&[400, 0, 1]).await;
    assert!(matches!(broken, Err(BodyFault::Broken(_))));
    assert!(BODIES.admit(Some(1000)).is_ok() && BODIES.admit(None).is_ok());
    assert!(BODIES.admit(Some(1001)).is_err());
}

#[tokio::test]
async fn a_body_that_breaks_off_is_broken() {
    let (tell, told) = oneshot::channel();
    let tell = Arc::new(std::sync::Mutex::new(Some(tell)));
    let routes = warp::body::stream()
        .then(move |chunks| {
            let tell = tell.lock().unwrap().take().unwrap();
            async move {
                let _ = tell.send(BODIES.bound(chunks).read_all().await);
                Response::default()
            }
        })
        .boxed();
    let server = Server::start(UNHURRIED, routes).await;
    let mut client = server.connect().await;
    client
        .send("PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345")
        .await;
    client.tcp.shutdown().await.unwrap();
    let read = timeout(PATIENCE, told).await.unwrap().unwrap();
    assert!(matches!(read, Err(BodyFault::Broken(_))), "{read:?}");
}

#[tokio::test]
async fn a_panic_is_our_500_and_the_connection_lives_on() {
    let routes = warp::path("panic")
        .map(|| -> Response { panic!("told to") })
        .or(warp::any().map(|| Response::new("hello".into())))
        .unify()
        .boxed();
    let server = Server::start(UNHURRIED, routes).await;
    let mut client = server.connect().await;
    client.send("GET /panic HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 500);
    assert!(
        answer.head.contains("content-type: application/json"),
        "{answer:?}"
    );
    let envelope: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let id = answer
        .head
        .lines()
        .find_map(|line| line.strip_prefix("x-request-id: "));
    let expected = format!(
        "the server failed on this request, its id is `{}`",
        id.unwrap()
    );
    assert_eq!(
        envelope,
        serde_json::json!({"errors": [{"detail": expected}]})
    );
    client.send(GET).await;
    assert_eq!(client.answer().await.body, "hello");
}

#[tokio::test]
async fn at_the_cap_idle_connections_make_room() {
    let server = Server::start(places(2), hello()).await;
    let mut served = server.connect().await;
    served.send(GET).await;
    served.answer().await;
    let mut silent = server.connect().await;
    for _ in 0..3 {
        assert_eq!(server.ask(GET).await.body, "hello");
    }
    served.assert_closed().await;
    let mut crowd = Vec::new();
    for _ in 0..5 {
        crowd.push(server.connect().await);
    }
    assert_eq!(server.ask(GET).await.body, "hello");
    silent.assert_closed().await;
}

#[tokio::test]
async fn at_the_cap_a_head_that_came_in_part_makes_room() {
    let server = Server::start(places(2), hello()).await;
    let mut first = server.connect().await;
    first.send("GET / HTTP/1.1\r\nhost: x\r\n").await;
    let mut second = server.connect().await;
    second.send(GET).await;
    assert_eq!(second.answer().await.body, "hello");
    second.send("GET /again HTTP/1.1\r\n").await;
    for _ in 0..3 {
        assert_eq!(server.ask(GET).await.body, "hello");
    }
    second.assert_closed().await;
    let mut crowd = Vec::new();
    for _ in 0..5 {
        let mut client = server.connect().await;
        client.send("G").await;
        crowd.push(client);
    }
    assert_eq!(server.ask(GET).await.body, "hello");
    first.assert_closed().await;
}

#[tokio::test]
async fn at_the_cap_a_body_that_is_still_coming_is_waited_for() {
    let server = Server::start(places(1), measure(BODIES)).await;
    let mut first = server.connect().await;
    first
        .send("PUT / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 6\r\n\r\n")
        .await;
    assert_eq!(first.answer().await.status, 100);
    first.send("abc").await;
    let mut second = server.connect().await;
    second.send(GET).await;
    first.send("def").await;
    assert_eq!(first.answer().await.body, "6");
    assert_eq!(second.answer().await.body, "0");
}

#[tokio::test]
async fn at_the_cap_a_body_that_comes_too_slowly_makes_room_and_is_told_so() {
    let log = Log::default();
    let _logging = log.takes_lines();
    let server = Server::start(places(1), measure(BODIES)).await;
    let mut first = server.connect().await;
    first
        .send("PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc")
        .await;
    assert_eq!(server.ask(GET).await.body, "0");
    let answer = first.answer().await;
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(answer.body.contains("others got its place"), "{answer:?}");
    first.assert_closed().await;
    let text = log.text();
    assert!(
        text.contains("so slowly that others got its place"),
        "{text}"
    );
    assert!(!text.contains("the client left"), "{text}");
}

#[tokio::test]
async fn at_the_cap_a_running_request_is_finished_and_the_next_waits() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (Arc::clone(&entered), Arc::clone(&release));
    let routes = warp::any()
        .then(move || {
            let (tell, wait) = (Arc::clone(&tell), Arc::clone(&wait));
            async move {
                tell.notify_one();
                wait.notified().await;
                Response::new("done".into())
            }
        })
        .boxed();
    let server = Server::start(places(1), routes).await;
    let mut first = server.connect().await;
    first.send(GET).await;
    timeout(PATIENCE, entered.notified()).await.unwrap();
    let mut second = server.connect().await;
    second.send(GET).await;
    release.notify_one();
    assert_eq!(first.answer().await.body, "done");
    first.assert_closed().await;
    timeout(PATIENCE, entered.notified()).await.unwrap();
    release.notify_one();
    assert_eq!(second.answer().await.body, "done");
}

#[tokio::test]
async fn the_end_waits_for_a_running_request_and_cuts_one_that_never_ends() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (Arc::clone(&entered), Arc::clone(&release));
    let gate = warp::path("gate").then(move || {
        let (tell, wait) = (Arc::clone(&tell), Arc::clone(&wait));
        async move {
            tell.notify_one();
            wait.notified().await;
            Response::new("done".into())
        }
    });
    let tell = Arc::clone(&entered);
    let never = warp::path("never").then(move || {
        tell.notify_one();
        std::future::pending::<Response>()
    });
    let hello = warp::any().map(|| Response::new("hello".into()));
    let routes = gate.or(never).unify().or(hello).unify().boxed();
    let limits = ServeLimits {
        shutdown: Duration::from_secs(1),
        ..UNHURRIED
    };
    let server = Server::start(limits, routes).await;
    let mut gated = server.connect().await;
    gated.send("GET /gate HTTP/1.1\r\nhost: x\r\n\r\n").await;
    timeout(PATIENCE, entered.notified()).await.unwrap();
    let mut endless = server.connect().await;
    endless.send("GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await;
    timeout(PATIENCE, entered.notified()).await.unwrap();
    let mut idle = server.connect().await;
    idle.send(GET).await;
    assert_eq!(idle.answer().await.body, "hello");
    server.stop.send(()).unwrap();
    idle.assert_closed().await;
    release.notify_one();
    assert_eq!(gated.answer().await.body, "done");
    timeout(PATIENCE, server.ended).await.unwrap().unwrap();
    endless.assert_closed().await;
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_client_that_takes_no_bytes_is_cut() {
    let limits = ServeLimits {
        response_idle: SHORT,
        ..UNHURRIED
    };
    let entered = Arc::new(Notify::new());
    let tell = Arc::clone(&entered);
    let routes = warp::any()
        .map(move || {
            tell.notify_one();
            Response::new(vec![0; 64 * 1024 * 1024].into())
        })
        .boxed();
    let server = Server::start(limits, routes).await;
    let mut client = server.connect().await;
    client.send(GET).await;
    timeout(PATIENCE, entered.notified()).await.unwrap();
    // The server can only end before its own long deadline if it gives this client up.
    server.stop.send(()).unwrap();
    timeout(PATIENCE, server.ended).await.unwrap().unwrap();
    // What the kernel had taken is little: a client that takes it slowly is soon asked for more.
    client.read_until(|_| false).await;
    assert!(client.read.len() < 1 << 20, "{}", client.read.len());
}

#[tokio::test]
async fn an_offer_to_upgrade_is_ignored() {
    let server = Server::start(UNHURRIED, hello()).await;
    let request = "GET / HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\n\
                   upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n";
    let mut client = server.connect().await;
    client.send(request).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    client.send(GET).await;
    assert_eq!(client.answer().await.body, "hello");
}

#[tokio::test]
async fn a_delete_may_have_a_body_and_a_put_none() {
    let server = Server::start(UNHURRIED, measure(BODIES)).await;
    let with_body = "DELETE / HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\n\r\n1234567";
    assert_eq!(server.ask(with_body).await.body, "7");
    let chunked =
        "DELETE / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(server.ask(chunked).await.body, "3");
    assert_eq!(
        server.ask("PUT / HTTP/1.1\r\nhost: x\r\n\r\n").await.body,
        "0"
    );
}

#[tokio::test]
async fn expect_continue_is_answered_only_when_the_body_is_wanted() {
    let server = Server::start(UNHURRIED, measure(BODIES)).await;
    let request = |length: usize| {
        format!(
            "PUT / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let mut client = server.connect().await;
    client.send(request(3)).await;
    assert_eq!(client.answer().await.status, 100);
    client.send("abc").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "3"));
    assert_eq!(server.ask(&request(1001)).await.status, 413);
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let server = Server::start(UNHURRIED, measure(BODIES)).await;
    let size = 8 * 1024 * 1024;
    let mut client = server.connect().await;
    client
        .send(format!(
            "PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n"
        ))
        .await;
    // Everything is sent before the answer is read: a reset would have thrown the answer away.
    client.send(vec![b'x'; size]).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 413);
    assert!(answer.body.contains("larger than 1000 bytes"), "{answer:?}");
}

#[tokio::test]
async fn an_answer_says_that_the_connection_ends_where_nobody_read_the_body() {
    let server = Server::start(UNHURRIED, measure(BODIES)).await;
    for (length, status, is_end) in [(1001, 413, true), (1000, 200, false)] {
        let mut client = server.connect().await;
        client
            .send(format!(
                "PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n"
            ))
            .await;
        client.send(vec![b'x'; length]).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status);
        let closes = answer.head.contains("\r\nconnection: close");
        assert_eq!(closes, is_end, "{answer:?}");
    }
}

#[tokio::test]
async fn a_refusal_of_a_head_reaches_a_client_that_is_sending_a_body() {
    let server = Server::start(UNHURRIED, measure(BODIES)).await;
    let size = 8 * 1024 * 1024;
    let (long, wide) = ("a".repeat(9000), "b".repeat(40_000));
    for (target, header, status) in [(long.as_str(), "x", 414), ("", wide.as_str(), 431)] {
        let mut client = server.connect().await;
        let head = format!("PUT /{target} HTTP/1.1\r\nhost: x\r\nx: {header}\r\n");
        client
            .send(format!("{head}content-length: {size}\r\n\r\n"))
            .await;
        client.send(vec![b'x'; size]).await;
        assert_eq!(client.answer().await.status, status);
    }
}

#[tokio::test]
async fn oversized_heads_and_nonsense_get_our_words() {
    let server = Server::start(UNHURRIED, hello()).await;
    let long = "a".repeat(9000);
    let answer = server
        .ask(&format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"))
        .await;
    assert_eq!(answer.status, 414);
    assert!(
        answer
            .body
            .starts_with("{\"errors\":[{\"detail\":\"the address"),
        "{answer:?}"
    );
    let wide = "b".repeat(40_000);
    let answer = server
        .ask(&format!("GET / HTTP/1.1\r\nhost: x\r\nx: {wide}\r\n\r\n"))
        .await;
    assert_eq!(answer.status, 431);
    assert!(answer.body.starts_with("{\"errors\":["), "{answer:?}");
    let huge = "c".repeat(70_000);
    let answer = server
        .ask(&format!("GET / HTTP/1.1\r\nhost: x\r\nx: {huge}\r\n\r\n"))
        .await;
    assert_eq!(answer.status, 431);
    assert!(
        answer.body.contains("larger than 65536 bytes"),
        "{answer:?}"
    );
    let answer = server.ask("no http at all\r\n\r\n").await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.body,
        r#"{"errors":[{"detail":"this is not a request of HTTP/1.1 that can be read"}]}"#
    );
    assert!(
        answer.head.contains("content-type: application/json"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn nonsense_after_a_request_gets_our_words_behind_its_answer() {
    let server = Server::start(UNHURRIED, hello()).await;
    let good = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let nonsense = "no http at all\r\n\r\n";
    // At once, and after the answer has come.
    for pause in [false, true] {
        let mut client = server.connect().await;
        if pause {
            client.send(good).await;
            assert_eq!(client.answer().await.status, 200);
            client.send(nonsense).await;
        } else {
            client.send(format!("{good}{nonsense}")).await;
            assert_eq!(client.answer().await.status, 200);
        }
        let refusal = client.answer().await;
        assert_eq!(refusal.status, 400);
        assert!(refusal.body.starts_with("{\"errors\":["), "{refusal:?}");
    }
}

#[tokio::test]
async fn a_request_knows_its_peer_and_its_id() {
    let routes = warp::ext::get::<Arc<Asked>>()
        .map(|asked: Arc<Asked>| Response::new(format!("{} {}", asked.peer.0, asked.id).into()))
        .boxed();
    let server = Server::start(UNHURRIED, routes).await;
    let mut client = server.connect().await;
    client
        .send("GET / HTTP/1.1\r\nhost: x\r\nx-request-id: mine\r\n\r\n")
        .await;
    let answer = client.answer().await;
    let (peer, id) = answer.body.split_once(' ').unwrap();
    assert_eq!(peer, client.tcp.local_addr().unwrap().to_string());
    assert!(
        id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()),
        "{id}"
    );
    assert!(
        answer.head.contains(&format!("x-request-id: {id}")),
        "{answer:?}"
    );
    assert!(
        answer.head.contains("x-content-type-options: nosniff"),
        "{answer:?}"
    );
    assert!(!answer.head.contains("mine"), "{answer:?}");
}

#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl Log {
    /// Takes the lines of this thread until what is given is dropped.
    fn takes_lines(&self) -> impl Sized + use<> {
        let sink = self.clone();
        // Beside a single subscriber, tracing asks the thread that meets a line of code first, and keeps its answer:
        // a neighbouring test without a log would switch ours off. Of two it asks both.
        let second = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::OFF)
            .finish();
        let second = tracing::Dispatch::new(second);
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::INFO)
            .with_ansi(false)
            .with_writer(move || sink.clone())
            .finish();
        (second, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn one_line_a_request_without_secrets() {
    let log = Log::default();
    let _logging = log.takes_lines();
    let server = Server::start(UNHURRIED, hello()).await;
    let agent = format!("cargo 1.65.0 \"\t{}", "z".repeat(500));
    let request = format!(
        "GET /a/path?token=secret1 HTTP/1.1\r\nhost: x\r\nauthorization: secret2\r\nuser-agent: {agent}\r\n\r\n"
    );
    let answer = server.ask(&request).await;
    let id = answer
        .head
        .lines()
        .find_map(|line| line.strip_prefix("x-request-id: "));
    let text = log.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in [
        "INFO request{",
        &format!("request_id={}", id.unwrap()),
        "method=GET",
        "path=\"/a/path\"",
        "user_agent=\"cargo 1.65.0 \\\"\\tzzz",
        "peer=127.0.0.1:",
        "answered status=200 duration_ms=",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("secret") && text.len() < 700, "{text}");
}
