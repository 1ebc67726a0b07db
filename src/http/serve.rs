//! The accept loop: who may connect, for how long, and how it all ends.
//!
//! HTTP/1.1 only: in clear text every client of a registry speaks it, and one connection is then one request,
//! so that the cap on connections bounds the work too. An `Upgrade: h2c` is ignored.
//!
//! At the cap a new connection waits in its turn, and the others are asked to make room: those that idle or have sent
//! only a part of a request's head close at once, or a second after they came, those at work after their answer, and
//! those whose client gives the body of its request, or takes its answer, so slowly that it is five seconds behind a very
//! modest pace at once; of a client that nobody knows yet a body is awaited for a second. Those that wait for a place of
//! another kind, as a fetch or a search does, get none. A flood of connections without a request, whose bodies trickle,
//! or that read no answer, thus cannot hold the places, and a client that came in the flood is served late instead of
//! refused.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use super::connection::{Connection, Leave};
use super::routes::Routes;
use crate::config::HttpConfig;
use crate::measure::Counted;

/// The first and the longest pause after an accept that failed.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long clients may take and how many there may be.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    /// For a request head, and for idling between two requests.
    pub header: Duration,
    /// For taking the next bytes of an answer.
    pub response_idle: Duration,
    /// The most connections at one time.
    pub connections_max: usize,
    /// For running requests once the server ends.
    pub shutdown: Duration,
}

impl From<&HttpConfig> for ServeLimits {
    fn from(config: &HttpConfig) -> Self {
        Self {
            header: Duration::from_secs(config.header_secs),
            response_idle: Duration::from_secs(config.response_idle_secs),
            connections_max: config.connections_max,
            shutdown: Duration::from_secs(config.shutdown_secs),
        }
    }
}

/// Serves `routes` on `listener` until `shutdown` resolves and the running requests are done or out of time.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    limits: ServeLimits,
    shutdown: impl Future<Output = ()>,
) {
    let mut server = Server {
        routes,
        limits,
        places: Arc::new(Semaphore::new(limits.connections_max)),
        leave: watch::Sender::new(Leave::Never),
        connections: JoinSet::new(),
        pause: PAUSE_MIN,
    };
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            () = server.accept(&listener) => {}
        }
    }
    drop(listener);
    server.end().await;
}

struct Server {
    routes: Routes,
    limits: ServeLimits,
    places: Arc<Semaphore>,
    leave: watch::Sender<Leave>,
    connections: JoinSet<()>,
    pause: Duration,
}

impl Server {
    /// Takes in one connection, or waits a little after a failure to do so.
    async fn accept(&mut self, listener: &TcpListener) {
        while let Some(ended) = self.connections.try_join_next() {
            report(ended);
        }
        match listener.accept().await {
            Ok((tcp, peer)) => {
                self.pause = PAUSE_MIN;
                let place = self.place().await;
                self.start(tcp, peer, place);
            }
            Err(fault) if is_of_one_client(&fault) => debug!(%fault, "a client left the queue"),
            Err(fault) => {
                warn!(%fault, "cannot accept connections, trying again");
                // Most often there are no file descriptors left: idle connections hold some.
                self.leave.send_replace(Leave::MakeRoom);
                sleep(self.pause).await;
                self.pause = (self.pause * 2).min(PAUSE_MAX);
            }
        }
    }

    /// A place under the cap, made free by those that idle if there is none.
    async fn place(&self) -> OwnedSemaphorePermit {
        let places = Arc::clone(&self.places);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            return place;
        }
        self.leave.send_replace(Leave::MakeRoom);
        places
            .acquire_owned()
            .await
            .expect("the semaphore is never closed")
    }

    fn start(&mut self, tcp: TcpStream, peer: std::net::SocketAddr, place: OwnedSemaphorePermit) {
        // Answers are written whole: waiting for more of them only delays.
        if let Err(fault) = tcp.set_nodelay(true) {
            debug!(%peer, %fault, "a connection closed before it was served");
            return;
        }
        let connection = Connection {
            tcp,
            peer,
            routes: self.routes.clone(),
            limits: self.limits,
            leave: self.leave.subscribe(),
        };
        let open = Counted::on(&self.routes.connections);
        self.connections.spawn(async move {
            connection.run().await;
            drop(open);
            drop(place);
        });
    }

    async fn end(mut self) {
        self.leave.send_replace(Leave::Ending);
        let connections = &mut self.connections;
        let all_ended = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        if timeout(self.limits.shutdown, all_ended).await.is_ok() {
            info!("all connections ended");
            return;
        }
        warn!(
            count = self.connections.len(),
            "requests still ran at the deadline and are cut"
        );
        self.connections.shutdown().await;
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(fault) = ended {
        error!(%fault, "a connection failed while its answer was sent");
    }
}

/// Whether an accept failed for a reason that ends with that one client.
fn is_of_one_client(fault: &io::Error) -> bool {
    matches!(
        fault.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
