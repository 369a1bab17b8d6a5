//! `wst serve`: takes the data directory, listens, and stops when it is told to.

use std::{
    future::IntoFuture as _, io::Write as _, net::SocketAddr, num::NonZeroU32, sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use axum::Extension;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{oneshot, watch},
    task::JoinSet,
};
use tower_workspace_token::serve::{Listener, ServeFuture, serve};
use workspace_token_key_memory::hold;

use crate::{
    activity::Activity,
    addresses::Addresses,
    admin, api,
    app::App,
    caller::Caller,
    config::Settings,
    control::{ControlClient, ControlSocket},
    data_dir::{DataDir, DataDirLock, probe_writes},
    demo,
    error::{AppError, ErrorCode},
    http::{self, PublicService},
    lifecycle,
    listener::{
        bounded::{Bounded, make_room},
        certificate::{Certificate, Reloader},
        exposure,
        shares::Shares,
        tls::TlsListener,
    },
    metrics, nodes,
    people::setup,
};

/// How long calls that wait have to be answered before streams end.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// Runs the server until SIGTERM or SIGINT.
pub(crate) async fn run(settings: Settings) -> Result<(), AppError> {
    let listening = &settings.listening;
    exposure::check(listening, settings.public_url.as_ref())?;
    if settings.demo {
        demo::check_listening(&settings)?;
    }
    exposure::warn(listening, settings.public_url.as_ref());
    // First of all that takes time, so that a signal while the server starts is not lost.
    let signals = Signals::listen()?;
    let certificate = listening.tls.clone().map(Certificate::read).transpose()?;
    let data_dir = DataDir::open_or_create(&settings.data_dir)?;
    let lock = take(&data_dir).await?;
    if settings.demo {
        demo::check_data_dir(&data_dir)?;
    }
    probe_writes(&data_dir)?;
    data_dir.check_kind(&settings.database, settings.is_database_named())?;
    let database = settings.database.find(&data_dir).await?;
    let keys = hold(|| settings.keys.read_or_create(&data_dir, database.is_new()))?;
    let (listener, address) = bind(listening.address).await?;
    let admin_listener = match listening.admin {
        None => None,
        Some(address) => Some(bind(address).await?),
    };
    let addresses = Addresses::new(
        address,
        certificate.is_some(),
        settings.public_url.clone(),
        settings.mcp_domain.clone(),
    );
    let arrivals = listening.arrivals(&addresses);
    let app = App::open(
        &data_dir,
        lock,
        database,
        keys,
        Some(addresses),
        &settings.at_rest,
    )
    .await?;
    data_dir.note_kind(&settings.database)?;
    app.show_settings(settings.lines);
    app.finish_archiving().await?;
    app.finish_transfers().await?;
    app.tasks().close_sessions_of_the_dead().await?;
    let cast = match settings.demo {
        true => demo::prepare(&app, address).await?,
        false => None,
    };
    let keeper = Activity::keep(&app);
    let control = ControlSocket::bind(&data_dir)?;

    let (stop, stopped) = watch::channel(false);
    let (outdated, is_outdated) = oneshot::channel();
    // What goes on beside, and ends with this function.
    let mut background = JoinSet::new();
    background.spawn(lifecycle::keep_finishing(app.clone()));
    if app.keys().store().postgres().is_some() {
        background.spawn(nodes::speak(app.clone(), app.live().outward()));
        let hearing = nodes::listen(app.clone());
        background.spawn(async move {
            let _ = outdated.send(hearing.await);
        });
    }
    let admin = match admin_listener {
        None => None,
        Some((listener, address)) => {
            let kept = metrics::keep()?;
            background.spawn(metrics::fold(kept.clone()));
            eprintln!("admin on http://{address}");
            let service = admin::router(&app, kept, listening.insecure_admin);
            // Monitoring, which is one source.
            let shares = Shares::new(ADMIN_CONNECTIONS, [].into());
            let listener = Bounded::new(listener, metrics::ADMIN, ADMIN_CONNECTIONS, shares);
            let server = serve(listener, service).with_header_timeout(HEAD_TIMEOUT);
            Some(server.with_graceful_shutdown(told(stopped.clone())))
        }
    };
    let admin = async {
        match admin {
            None => Ok(()),
            Some(admin) => admin.await,
        }
    };
    let service = http::service(&app, arrivals, &settings.limits);
    let scheme = if certificate.is_some() {
        "https"
    } else {
        "http"
    };
    let most = make_room(settings.limits.connections);
    let share = settings.limits.connections_per_source;
    let share = share.unwrap_or_else(|| Shares::of(most));
    let shares = Shares::new(share, Arc::clone(&listening.proxies));
    let public = match certificate {
        None => serve_public(listener, service, (most, shares), stopped.clone()),
        Some(certificate) => {
            background.spawn(Reloader::new(certificate.clone())?.run());
            let listener = TlsListener::new(listener, certificate);
            serve_public(listener, service, (most, shares), stopped.clone())
        }
    };
    // Before it says that it accepts: whoever waits for that takes it for started.
    let setup_link = setup::link(&app).await?;
    announce(scheme, address)?;
    if let Some(link) = setup_link {
        show_setup_link(&link);
    }
    let agent = cast.map(|cast| background.spawn(cast.play()));

    let commands = api::router(app.clone()).layer(Extension(Caller::CommandLine));
    let control = control.serve(commands, told(stopped));
    let until_signal = async {
        let problem = tokio::select! {
            () = signals.wait() => None,
            Ok(problem) = is_outdated => Some(problem),
        };
        tracing::info!("stopping");
        if let Some(agent) = agent {
            agent.abort();
        }
        // A call that waits is answered first: clients hang on a stream that ends without an answer.
        app.tasks().close();
        // A backup that is being written is broken off, since what is there of it must not stay.
        tokio::join!(tokio::time::sleep(LAST_ANSWERS), app.jobs().backup.stop());
        // The servers hold a receiver until they end.
        let _ = stop.send(true);
        problem
    };
    let (public, control, admin, problem) = tokio::join!(public, control, admin, until_signal);
    public.context("the listener failed")?;
    admin.context("the admin listener failed")?;
    control.context("the control socket failed")?;
    drop(keeper);
    app.activity().flush(app.database()).await;
    if let Err(left) = app.downloads().clear() {
        tracing::warn!("{left:#}");
    }
    app.leave().await;
    // While the directory is still ours: a socket without a server would only be puzzling.
    let _ = std::fs::remove_file(data_dir.control_socket());
    problem.map_or(Ok(()), Err)
}

async fn bind(address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let address = listener
        .local_addr()
        .context("the listener has no address")?;
    Ok((listener, address))
}

/// Serves what everybody may reach, over whatever the listener speaks.
fn serve_public(
    listener: impl Listener<Peer = SocketAddr>,
    service: PublicService,
    (most, shares): (NonZeroU32, Shares),
    stopped: watch::Receiver<bool>,
) -> ServeFuture {
    let listener = Bounded::new(listener, metrics::PUBLIC, most, shares);
    serve(listener, service)
        .with_header_timeout(HEAD_TIMEOUT)
        .with_idle_grace(IDLE_GRACE)
        .with_graceful_shutdown(told(stopped))
        .into_future()
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
fn announce(scheme: &str, address: SocketAddr) -> anyhow::Result<()> {
    tracing::info!(scheme, %address, "listening");
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on {scheme}://{address}")
        .and_then(|()| stdout.flush())
        .context("cannot write to standard output")
}

/// Tells whoever starts the server for the first time how to get in. On standard error: whatever keeps
/// the standard output of a service is no place for it.
fn show_setup_link(link: &SecretString) {
    let mut stderr = std::io::stderr();
    // Whoever cannot read it can still ask `wst setup-link`.
    let _ = writeln!(
        stderr,
        "nobody has an account yet: open this link within an hour to make the first one (`wst setup-link` shows it again)\n  {}",
        link.expose_secret()
    );
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

/// A head that never ends is cut off within ten seconds, with what the timer and the system add.
const HEAD_TIMEOUT: Duration = Duration::from_secs(9);

/// Longer than a proxy in front keeps idle connections (`deploy/nginx/wst-nodes.conf`), so that it never sends a request
/// over one that is closed here at that instant; and short enough for a stop within five seconds.
const IDLE_GRACE: Duration = Duration::from_millis(2500);

/// Monitoring needs few.
const ADMIN_CONNECTIONS: NonZeroU32 = NonZeroU32::new(64).expect("64 is not zero");

const ATTEMPTS: u32 = 40;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
