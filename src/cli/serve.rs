//! `sidecargo serve`

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use sidecargo::app::App;
use sidecargo::config::{Arguments, Config};
use sidecargo::domain::{PublicUrl, Visibility};
use sidecargo::{http, telemetry};

use super::Settings;

/// Options of `serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// The URL at which people reach the server, if it is not that of this machine.
    #[arg(long, value_name = "URL")]
    public_url: Option<PublicUrl>,
    /// Who may read: `public` is everybody, `private` whoever has a token.
    #[arg(long, value_name = "WHO")]
    visibility: Option<Visibility>,
}

impl Serve {
    /// Runs the registry until it is told to end.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let more = Arguments {
            listen: self.listen,
            public_url: self.public_url,
            visibility: self.visibility,
            ..Arguments::default()
        };
        let config = self.settings.load(more)?;
        telemetry::start(&config.log)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        runtime.block_on(serve(config))
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("`listen`: {} cannot be listened on", config.listen))?;
    let bound = listener.local_addr()?;
    // Asked for before anything is announced, so that whoever sees the server can also end it in order.
    let end = end_signal()?;
    let limits = http::ServeLimits::from(&config.http);
    let app = tokio::task::spawn_blocking(move || App::open(config, bound)).await??;
    let app = Arc::new(app);
    info!(public_url = %app.public_url, data = %app.config.data.display(), "listening on http://{bound}");
    greet(&app);
    http::serve(listener, http::routes(Arc::clone(&app)), limits, end).await;
    info!("ended");
    Ok(())
}

/// Resolves at SIGTERM or Ctrl-C.
fn end_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
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
        visibility: app.config.visibility,
    };
    let snippet = snippets.sparse();
    let root = app.public_url.registry_root(name);
    let data = app.config.data.display();
    // As it was called: a build that was just made is rarely on the path.
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "sidecargo".to_owned());
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
