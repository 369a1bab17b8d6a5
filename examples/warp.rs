//! An existing warp app gains workspace tokens: the lines between the marks, one filter, and a changed last line.
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
//! curl -N http://127.0.0.1:3030/w/acme/ticks -H "Authorization: Bearer $TOKEN"  # a stream
//! ```
//! Enter rotates the token: the stream ends, and the old token is answered with 401. Ctrl-C ends open
//! streams cleanly and gives running calls 4 seconds.

use std::{convert::Infallible, error::Error, io, time::Duration};

use tokio_stream::{Stream, StreamExt as _};
use tower_workspace_token::{
    Keys, MemoryStore, PathTemplate, TokenAuthority, TokenName, VerifiedToken, WorkspaceId,
    WorkspaceTokenLayer,
    warp::{Layer, serve, verified_token},
};
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
    rotate_on_enter(authority, workspace);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3030").await?;
    eprintln!("listening on http://{}", listener.local_addr()?);

    // Was: warp::serve(routes()).run(([127, 0, 0, 1], 3030)).await;
    serve(listener, layer.layer(warp::service(routes())))
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
