//! The servers: axum's hello-world, a POST of JSON answered with JSON, bare and behind each candidate.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, bail};
use axum::{
    Extension, Json, Router,
    body::Body,
    routing::{MethodRouter, post},
    serve::ListenerExt as _,
};
use jwt_authorizer::JwtClaims;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tower_workspace_token::{VerifiedToken, WorkspaceTokenLayer, layer::FixedWorkspace};

use crate::{
    lanes::{
        async_require,
        axum_jwt_auth::{self, Extracted},
        jwt_authorizer as authorizer, oauth2_resource_server,
        passthrough::PassThroughLayer,
    },
    request::PATH,
    token::{Claims, World},
};

/// A server and what a table says about it.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Its name on the command line.
    pub id: &'static str,
    /// What it is called in a table.
    pub label: &'static str,
    /// Whether it is this library.
    pub ours: bool,
    /// The server without protection that it is compared with.
    pub base: &'static str,
    /// Whether it looks at tokens.
    pub is_protected: bool,
}

/// The server without protection.
pub const BARE: &str = "bare";

/// The same with axum 0.7, for the one candidate that needs it.
const BARE_07: &str = "bare-axum-07";

/// All servers, in the order of the table.
pub const SERVERS: &[Server] = &[
    bare(BARE, "axum 0.8, no layer", BARE),
    bare("pass-through", "a layer that does nothing", BARE),
    Server {
        ours: true,
        ..protected("ours", "Bearer, one workspace", BARE)
    },
    protected(
        "async-require",
        "tower-http 0.7 `AsyncRequireAuthorization` + jsonwebtoken 11",
        BARE,
    ),
    protected("axum-jwt-auth", "axum-jwt-auth 0.7", BARE),
    protected(
        "oauth2-resource-server",
        "tower-oauth2-resource-server 0.12",
        BARE,
    ),
    bare(BARE_07, "axum 0.7, no layer", BARE_07),
    protected(
        "jwt-authorizer",
        "jwt-authorizer 0.15, on axum 0.7",
        BARE_07,
    ),
];

#[derive(Deserialize)]
struct Ping {
    id: u64,
}

#[derive(Serialize)]
struct Pong {
    jsonrpc: &'static str,
    id: u64,
    result: Hello,
}

#[derive(Serialize)]
struct Hello {
    message: &'static str,
}

/// Listens on a free port of 127.0.0.1, hands the address to `listening`, and serves until the process ends.
///
/// # Errors
/// There is no such server, or it cannot listen.
pub fn serve(world: &World, id: &str, listening: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let (new, old) = match id {
        BARE_07 => (None, Some(router_07(axum_07::routing::post(hello_07)))),
        "jwt-authorizer" => {
            let router = router_07(axum_07::routing::post(hello_jwt_authorizer));
            (None, Some(router.layer(authorizer::layer(world)?)))
        }
        id => (Some(router(world, id)?), None),
    };
    world.runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        listening(address);
        if let Some(router) = new {
            let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
            axum::serve(listener, router).await?;
        } else if let Some(router) = old {
            axum_07::serve(listener, router).tcp_nodelay(true).await?;
        }
        bail!("it has stopped by itself")
    })
}

fn router(world: &World, id: &str) -> anyhow::Result<Router> {
    let key = &world.peer_key;
    Ok(match id {
        BARE => route(post(hello)),
        "pass-through" => route(post(hello)).layer(PassThroughLayer),
        "ours" => {
            let resolver = FixedWorkspace(world.workspace);
            let layer = WorkspaceTokenLayer::new(world.authority.clone(), resolver);
            route(post(hello_ours)).layer(layer)
        }
        "async-require" => route(post(hello_claims)).layer(async_require::layer::<Body>(key)),
        "axum-jwt-auth" => Router::new()
            .route(PATH, post(hello_extracted))
            .with_state(axum_jwt_auth::decoder(key)),
        "oauth2-resource-server" => {
            let layer = oauth2_resource_server::layer::<Body>(world);
            route(post(hello_claims)).layer(layer.context("the layer")?)
        }
        other => bail!("there is no server `{other}`"),
    })
}

fn route(method: MethodRouter) -> Router {
    Router::new().route(PATH, method)
}

fn router_07(method: axum_07::routing::MethodRouter) -> axum_07::Router {
    axum_07::Router::new().route(PATH, method)
}

async fn hello(Json(ping): Json<Ping>) -> Json<Pong> {
    Json(pong(&ping))
}

async fn hello_ours(_token: VerifiedToken, Json(ping): Json<Ping>) -> Json<Pong> {
    Json(pong(&ping))
}

async fn hello_claims(_claims: Extension<Claims>, Json(ping): Json<Ping>) -> Json<Pong> {
    Json(pong(&ping))
}

async fn hello_extracted(_claims: Extracted, Json(ping): Json<Ping>) -> Json<Pong> {
    Json(pong(&ping))
}

async fn hello_07(axum_07::Json(ping): axum_07::Json<Ping>) -> axum_07::Json<Pong> {
    axum_07::Json(pong(&ping))
}

async fn hello_jwt_authorizer(
    _claims: JwtClaims<Claims>,
    axum_07::Json(ping): axum_07::Json<Ping>,
) -> axum_07::Json<Pong> {
    axum_07::Json(pong(&ping))
}

fn pong(ping: &Ping) -> Pong {
    Pong {
        jsonrpc: "2.0",
        id: ping.id,
        result: Hello {
            message: "hello, world",
        },
    }
}

const fn bare(id: &'static str, label: &'static str, base: &'static str) -> Server {
    Server {
        id,
        label,
        ours: false,
        base,
        is_protected: false,
    }
}

const fn protected(id: &'static str, label: &'static str, base: &'static str) -> Server {
    Server {
        id,
        label,
        ours: false,
        base,
        is_protected: true,
    }
}
