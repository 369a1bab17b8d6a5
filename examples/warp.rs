//! An existing warp app gains workspace tokens: the lines between the marks, one filter, and a changed last line.
//! Beside its routes it serves MCP, under the same tokens.
//!
//! Run with
//! ```text
//! cargo run --example warp --features warp
//! ```
//! It prints a token; then, in another terminal:
//! ```text
//! TOKEN=…
//! curl -i http://127.0.0.1:3030/w/acme/notes                                    # 401, says what to do
//! curl -i http://127.0.0.1:3030/w/acme/notes -H "Authorization: Bearer $TOKEN"  # 200
//! curl -i http://127.0.0.1:3030/w/other/notes -H "Authorization: Bearer $TOKEN" # 401, another workspace
//! curl -N -m 3 http://127.0.0.1:3030/w/acme/ticks -H "Authorization: Bearer $TOKEN" # tick 1, a stream
//! alias mcp='curl -i http://127.0.0.1:3030/w/acme/mcp -H "Accept: application/json, text/event-stream" -H "Content-Type: application/json"'
//! HELLO='{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"curl","version":"8"}}}'
//! mcp -d "$HELLO"                                                               # 401, MCP too
//! mcp -d "$HELLO" -H "Authorization: Bearer $TOKEN"                             # mcp-session-id: ey
//! ```
//! Or connect a client of MCP: `claude mcp add --transport http notes http://127.0.0.1:3030/w/acme/mcp --header "Authorization: Bearer $TOKEN"`.
//!
//! Enter rotates the token: the stream ends, and the old token is answered with 401. Ctrl-C ends open
//! streams cleanly and gives running calls 4 seconds.

use std::{convert::Infallible, error::Error, io, time::Duration};

use http::{Request, Response};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Incoming};
use rmcp::{
    RoleServer, ServerHandler,
    model::{CallToolResult, ContentBlock},
    service::RequestContext,
    tool, tool_handler, tool_router,
};
use tokio_stream::{Stream, StreamExt as _};
use tower::{Service, ServiceExt as _, service_fn};
use tower_workspace_token::{
    Keys, MemoryStore, PathTemplate, TokenAuthority, TokenName, VerifiedToken, WorkspaceId,
    WorkspaceTokenLayer,
    warp::{Layer, serve, verified_token},
};
use tower_workspace_token_mcp::McpService;
use warp::{Filter, Rejection, Reply, sse::Event};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // --- what is added to the app ---
    let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate()?).build()?;
    let workspace_of = PathTemplate::new("/w/{workspace}/*");
    let layer = WorkspaceTokenLayer::new(authority.clone(), workspace_of);
    // --- and the last line changes, below ---

    let workspace = "acme".parse()?;
    let issued = authority.issue(&workspace, &TokenName::primary()).await?;
    eprintln!("TOKEN={}", issued.expose_secret());
    let mcp = McpService::new(authority.clone(), || Ok(MyTools));
    rotate_on_enter(authority, workspace);
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3030");
    let listener = tokio::net::TcpListener::bind(address).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);

    // Was: warp::serve(routes()).run(([127, 0, 0, 1], 3030)).await;
    // Without MCP it is: serve(listener, layer.layer(warp::service(routes())))
    serve(
        listener,
        layer.layer(with_mcp(warp::service(routes()), mcp)),
    )
    .with_graceful_shutdown(interrupted())
    .await?;
    Ok(())
}

fn routes() -> impl Filter<Extract = (impl Reply,), Error = Rejection> + Clone {
    // What the path says is the layer's business: the handlers take the workspace from the token.
    let workspace = warp::path("w").and(warp::path::param::<String>().map(drop).untuple_one());
    let notes = warp::path!("notes").and(verified_token()).map(notes);
    let ticks = warp::path!("ticks")
        .and(verified_token())
        .map(|_token| warp::sse::reply(ticks()));
    warp::get().and(workspace).and(notes.or(ticks))
}

fn notes(token: VerifiedToken) -> String {
    format!("notes of {}\n", token.workspace())
}

/// A line every second, for as long as anybody listens and the token holds.
fn ticks() -> impl Stream<Item = Result<Event, Infallible>> + Send + Sync {
    tokio_stream::iter(1..)
        .throttle(Duration::from_secs(1))
        .map(|count: u32| Ok(Event::default().data(format!("tick {count}"))))
}

struct MyTools;

#[tool_router]
impl MyTools {
    #[tool(description = "Says whose notes these are")]
    async fn whoami(&self, context: RequestContext<RoleServer>) -> CallToolResult {
        match tower_workspace_token_mcp::verified_token(&context) {
            Some(token) => {
                let text = format!("notes of {}", token.workspace());
                CallToolResult::success(vec![ContentBlock::text(text)])
            }
            None => CallToolResult::error(vec![ContentBlock::text("no token layer")]),
        }
    }
}

#[tool_handler]
impl ServerHandler for MyTools {}

type Body = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// Puts two services beside each other: requests for `/mcp` are the second's.
///
/// It stands behind the layer, so that one layer protects both.
fn with_mcp<R, M, A, B>(
    routes: R,
    mcp: M,
) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
where
    R: Service<Request<Incoming>, Response = Response<A>, Error = Infallible, Future: Send>
        + Clone
        + Send,
    M: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send,
    A: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    service_fn(move |request: Request<Incoming>| {
        let (routes, mcp) = (routes.clone(), mcp.clone());
        async move {
            Ok(if request.uri().path().ends_with("/mcp") {
                mcp.oneshot(request).await?.map(boxed)
            } else {
                routes.oneshot(request).await?.map(boxed)
            })
        }
    })
}

fn boxed<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    body.map_err(Into::into).boxed_unsync()
}

fn rotate_on_enter(authority: TokenAuthority, workspace: WorkspaceId) {
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        for _line in io::stdin().lines().map_while(Result::ok) {
            match runtime.block_on(authority.rotate(&workspace, &TokenName::primary())) {
                Ok(receipt) => {
                    eprintln!("{} streams ended", receipt.ended.streams);
                    eprintln!("TOKEN={}", receipt.token.expose_secret());
                }
                Err(error) => eprintln!("not rotated: {error}"),
            }
        }
    });
}

async fn interrupted() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        eprintln!("Ctrl-C will end this at once: {error}");
        std::future::pending::<()>().await;
    }
}
