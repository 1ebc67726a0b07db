//! `sidecargo serve`

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{Level, enabled, error, info, warn};

use sidecargo::app::App;
use sidecargo::catalog::Follower;
use sidecargo::config::{Arguments, Config, LogFormat, listen_address};
use sidecargo::control::Control;
use sidecargo::domain::{PublicUrl, RegistryName, Visibility};
use sidecargo::orphans::Orphans;
use sidecargo::{http, review, telemetry};

use super::{Settings, descriptors, notify};

/// How long the end waits for work on files that nobody waits for any more.
const END_WAIT: Duration = Duration::from_secs(5);
/// How long a thread for work that waits stays without any, and how often it is used all the same.
const KEEP_THREAD: Duration = Duration::from_secs(10);
const USE_THREAD: Duration = Duration::from_secs(3);

/// Options of `serve`, and of what looks at them.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// The URL at which people reach the server, if it is not that of this machine.
    #[arg(long, value_name = "URL")]
    public_url: Option<PublicUrl>,
    /// The name of a registry that is not made yet: the first segment of its paths.
    #[arg(long, value_name = "NAME")]
    name: Option<RegistryName>,
    /// Who may read: `public` is everybody, `private` whoever has a token.
    #[arg(long, value_name = "WHO")]
    visibility: Option<Visibility>,
}

impl Serve {
    /// Prints the settings with which `serve` would run.
    pub(super) fn show(self) -> anyhow::Result<()> {
        let (settings, more) = self.arguments();
        let mut shown = settings.clone().show(more.clone())?;
        if let Some(room) = descriptors::too_little_room(&settings.load(more)?) {
            let limit = "few files may be open (`ulimit -n`)";
            shown += &format!(
                "\n# {limit}: from here `serve` would run with connections_max = {room}\n"
            );
        }
        std::io::stdout().write_all(shown.as_bytes())?;
        Ok(())
    }

    /// The configuration with which `serve` would run.
    pub(super) fn config(self) -> anyhow::Result<Config> {
        let (settings, more) = self.arguments();
        settings.load(more)
    }

    fn arguments(self) -> (Settings, Arguments) {
        let more = Arguments {
            listen: self.listen,
            public_url: self.public_url,
            visibility: self.visibility,
            name: self.name,
            ..Arguments::default()
        };
        (self.settings, more)
    }

    /// Runs the registry until it is told to end.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (settings, more) = self.arguments();
        let mut config = settings.load(more)?;
        let _log = telemetry::start(&config.log)?;
        let is_json = config.log.format == LogFormat::Json;
        descriptors::make_room(&mut config);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_keep_alive(KEEP_THREAD)
            .build()?;
        let served = runtime.block_on(serve(config));
        // A disk that hangs does not hold up the end.
        runtime.shutdown_timeout(END_WAIT);
        match served {
            // Whoever reads JSON reads nothing else; a filter that takes no error leaves only the plain words.
            Err(fault) if is_json && enabled!(Level::ERROR) => {
                let cause = format!("{fault:#}");
                error!(cause, "the server cannot run");
                Ok(ExitCode::FAILURE)
            }
            served => served.map(|()| ExitCode::SUCCESS),
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("`listen`: {} cannot be listened on", config.listen))?;
    let bound = listener.local_addr()?;
    // Asked for before anything is announced, so that whoever sees the server can also end it in order.
    let end = end_signal()?;
    // What is written beyond a limit of sizes (`ulimit -f`) fails then, as on a full disk, and does not end the process.
    // Programs that it starts are ended all the same.
    let _ignored = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
    let keeping = tokio::spawn(keep_a_thread());
    let limits = http::ServeLimits::from(&config.http);
    let app = spawn_blocking(move || App::open(config, bound)).await??;
    let app = Arc::new(app);
    let operated = Arc::clone(&app);
    let control = spawn_blocking(move || Control::start(operated)).await?;
    let control = control.context("commands cannot be heard")?;
    info!(public_url = %app.public_url, data = %app.config.data.display(), "listening on http://{bound}");
    greet(&app);
    notify::say("READY=1");
    let follower = Follower::start(Arc::clone(&app.catalog));
    let watched = Arc::clone(&app);
    let watching = tokio::spawn(async move {
        if let Some(watch) = &watched.watch {
            watch.follow(&watched.index).await;
        }
    });
    let reviewing = tokio::spawn(review::follow(Arc::clone(&app)));
    let kept = Arc::clone(&app);
    let collecting = tokio::spawn(async move {
        let orphans = Orphans::of(Arc::clone(&kept.blobs), &kept.index);
        orphans.follow(&kept.index).await;
    });
    http::serve(listener, http::routes(Arc::clone(&app)), limits, end).await;
    notify::say("STOPPING=1");
    keeping.abort();
    watching.abort();
    reviewing.abort();
    collecting.abort();
    drop(control);
    follower.stop().await;
    info!("ended");
    Ok(())
}

/// Lets there always be a thread for work that waits: with one, work for which the system gives no other waits for its
/// turn; without any, whoever has such work panics.
async fn keep_a_thread() {
    loop {
        let _ = spawn_blocking(|| ()).await;
        sleep(USE_THREAD).await;
    }
}

/// Resolves at SIGTERM or Ctrl-C; a second one ends the process at once, which it survives like a kill.
fn end_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut next = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let (end, ended) = oneshot::channel();
    tokio::spawn(async move {
        next().await;
        // If nobody waits for it, the server has ended already.
        let _ = end.send(());
        next().await;
        warn!("ended at once by a second signal");
        telemetry::Log::flush();
        std::process::exit(1);
    });
    Ok(async move {
        let _ = ended.await;
    })
}

/// On a terminal: what to paste, and how to get a token.
fn greet(app: &App) {
    let mut out = std::io::stdout();
    if !out.is_terminal() {
        return;
    }
    let name = &app.config.name;
    let snippets = http::Snippets {
        name,
        public_url: &app.public_url,
        visibility: app.visibility(&app.index.snapshot()),
    };
    let snippet = snippets.sparse();
    let root = app.public_url.registry_root(name);
    let data = quoted(&app.config.data.to_string_lossy());
    // As it was called: a build that was just made is rarely on the path.
    let program = std::env::args().next();
    let program = quoted(program.as_deref().unwrap_or("sidecargo"));
    let text = format!(
        "\nThe registry `{name}` is served. Paste this into .cargo/config.toml:\n\n{snippet}\n\
         Make a token, and give it to Cargo:\n\n\
         {program} token create YOUR-NAME --data {data}\n\
         cargo login --registry {name}\n\n\
         For Cargo before 1.68, see {root}/me\n\n"
    );
    // Nobody may be reading; the server serves all the same.
    let _ = out.write_all(text.as_bytes());
}

/// A word as a shell takes it, in quotes if it needs them.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
