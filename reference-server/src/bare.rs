//! The same agents' tools with nothing of ours around them: what `tests/figures/load` compares `wst serve` with.
//!
//! Behind the feature `bare`, for the example `bare_mcp` alone; no command leads here. Whoever reaches the
//! address acts for the one workspace there is, since nobody is asked for a token.

use std::{io::Write as _, net::Ipv4Addr, path::Path, sync::Arc};

use anyhow::Context as _;
use axum::{Extension, Router, serve::ListenerExt as _};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use tokio::net::TcpListener;
use tower_workspace_token::{authority::VerifiedToken, token::PresentedToken};

use crate::{
    actions::WorkspaceCreate,
    addresses::Addresses,
    app::App,
    at_rest::AtRest,
    caller::Caller,
    data_dir::{DataDir, keys::KeySource},
    db::DatabasePlace,
    mcp,
};

/// Makes a data directory with a workspace at `path`, and serves its tools at `/mcp` of a loopback address.
///
/// # Errors
/// There is one already, or the listener fails.
pub async fn serve(path: &Path) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let data_dir = DataDir::open_or_create(path)?;
    let lock = data_dir.try_lock()?.context("somebody else uses it")?;
    let database = DatabasePlace::Sqlite.find(&data_dir).await?;
    let keys = KeySource::DataDir.read_or_create(&data_dir, database.is_new())?;
    let addresses = Addresses::new(address, false, None, None);
    let app = App::open(
        &data_dir,
        lock,
        database,
        keys,
        Some(addresses),
        &AtRest::default(),
    )
    .await?;
    let service = service(&app).layer(Extension(token(&app).await?));
    writeln!(std::io::stdout(), "listening on http://{address}/mcp")?;
    // rmcp's answers come in pieces, each of which would wait for the one before to be acknowledged.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, service).await?)
}

/// Returns rmcp's own service, with the settings that the server gives it.
fn service(app: &App) -> Router {
    let handler = mcp::handler(app);
    let config = StreamableHttpServerConfig::default()
        .disable_allowed_hosts()
        .disable_allowed_origins()
        .with_json_response(true);
    let sessions = Arc::new(LocalSessionManager::default());
    let service = StreamableHttpService::new(handler, sessions, config);
    Router::new().route_service("/mcp", service)
}

/// Makes the workspace, and has its token verified once for all requests: tools work for nobody else.
async fn token(app: &App) -> anyhow::Result<VerifiedToken> {
    let create = WorkspaceCreate {
        name: "bare".to_owned(),
        id: None,
    };
    let created = app.perform(create, &Caller::CommandLine).await;
    let created = created.map_err(|error| anyhow::anyhow!("{error}"))?;
    let workspace = created.workspace.id.parse()?;
    let presented = PresentedToken::new(created.secret.expose_secret().as_bytes());
    Ok(app.authority().verify(&workspace, presented).await?)
}
