//! `wst serve`: takes the data directory, listens, and stops when it is told to.

use std::{io::Write as _, time::Duration};

use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tower_workspace_token::serve::serve;

use crate::{
    addresses::Addresses,
    api,
    app::App,
    config::Settings,
    control::{ControlClient, ControlSocket},
    data_dir::{DataDir, DataDirLock, probe_writes},
    error::{AppError, ErrorCode},
    http,
};

/// How long calls that wait have to be answered before streams end.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// Runs the server until SIGTERM or SIGINT.
pub(crate) async fn run(settings: Settings) -> Result<(), AppError> {
    // First of all, so that a signal while the server starts is not lost.
    let signals = Signals::listen()?;
    let data_dir = DataDir::open_or_create(&settings.data_dir)?;
    let lock = take(&data_dir).await?;
    probe_writes(&data_dir)?;
    let keys = settings.keys.read_or_create(&data_dir)?;
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("cannot listen on {}", settings.listen))?;
    let local_address = listener
        .local_addr()
        .context("the listener has no address")?;
    let addresses = Addresses::new(local_address, settings.public_url, settings.mcp_domain);
    let app = App::open(&data_dir, lock, keys, Some(addresses)).await?;
    app.finish_archiving().await?;
    let control = ControlSocket::bind(&data_dir)?;
    announce(&local_address.to_string())?;

    let (stop, stopped) = watch::channel(false);
    let public = serve(listener, http::service(&app)).with_graceful_shutdown(told(stopped.clone()));
    let control = control.serve(api::router(app.clone()), told(stopped));
    let until_signal = async {
        signals.wait().await;
        tracing::info!("stopping");
        // A call that waits is answered first: clients hang on a stream that ends without an answer.
        app.tasks().close();
        tokio::time::sleep(LAST_ANSWERS).await;
        // Both servers hold a receiver until they end.
        let _ = stop.send(true);
    };
    let (public, control, ()) = tokio::join!(public, control, until_signal);
    public.context("the listener failed")?;
    control.context("the control socket failed")?;
    // While the directory is still ours: a socket without a server would only be puzzling.
    let _ = std::fs::remove_file(data_dir.control_socket());
    Ok(())
}

/// Takes the data directory, which a command may still hold for a moment.
async fn take(data_dir: &DataDir) -> Result<DataDirLock, AppError> {
    for _ in 0..ATTEMPTS {
        if let Some(lock) = data_dir.try_lock()? {
            return Ok(lock);
        }
        if ControlClient::connect(data_dir).await.is_ok() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(AppError::new(
        ErrorCode::Unavailable,
        format!(
            "another process uses the data directory {}: is a server running already?",
            data_dir.path().display()
        ),
    ))
}

/// Tells on standard output that the server accepts connections, and where.
fn announce(address: &str) -> anyhow::Result<()> {
    tracing::info!(address, "listening");
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on http://{address}")
        .and_then(|()| stdout.flush())
        .context("cannot write to standard output")
}

/// Completes when the word to stop has been given.
async fn told(mut stopped: watch::Receiver<bool>) {
    // An error means that nobody can give the word any longer, which is the word.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

const ATTEMPTS: u32 = 40;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
