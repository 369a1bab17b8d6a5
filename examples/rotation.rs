//! What a rotation does to a client in the middle of a stream: the stream ends, the old token is dead,
//! the new one works.
//!
//! Run with
//! ```text
//! cargo run --example rotation --features axum
//! ```
//! It asks itself over a real connection and exits with an error if anything is not as it should be.

use std::{convert::Infallible, error::Error, net::SocketAddr, time::Duration};

use axum::{Router, body::Body, http::Request, routing::get};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio_stream::StreamExt as _;
use tower_workspace_token::{
    Keys, MemoryStore, TokenAuthority, TokenName, WorkspaceId, WorkspaceTokenLayer,
    layer::FixedWorkspace,
};

/// A line every 50 ms, for as long as anybody listens.
async fn ticks() -> Body {
    let pauses = tokio_stream::iter(1..).then(|count: u32| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok::<_, Infallible>(format!("tick {count}\n"))
    });
    Body::from_stream(pauses)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let workspace: WorkspaceId = "acme".parse()?;
    let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate()?).build()?;
    let old = authority.issue(&workspace, &TokenName::primary()).await?;

    let layer = WorkspaceTokenLayer::new(authority.clone(), FixedWorkspace(workspace));
    let app = Router::new().route("/ticks", get(ticks)).layer(layer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });

    let mut stream = ask(address, old.expose_secret()).await?.into_body();
    let first = stream.frame().await.ok_or("the stream ended too early")??;
    println!("the old token streams: {:?}", first.data_ref());

    let receipt = authority.rotate(&workspace, &TokenName::primary()).await?;
    println!(
        "rotated to generation {}: {:?}",
        receipt.token.generation(),
        receipt.ended
    );
    // What was on its way before the rotation may still arrive; then comes a clean end.
    while let Some(frame) = stream.frame().await {
        println!("still on its way: {:?}", frame?.data_ref());
    }
    println!("the stream has ended");

    let status = ask(address, old.expose_secret()).await?.status();
    println!("the old token: {status}");
    let new_status = ask(address, receipt.token.expose_secret()).await?.status();
    println!("the new token: {new_status}");
    if receipt.ended.streams == 1 && status == 401 && new_status == 200 {
        Ok(())
    } else {
        Err("the rotation did not do what it should".into())
    }
}

async fn ask(
    address: SocketAddr,
    token: &str,
) -> Result<axum::http::Response<hyper::body::Incoming>, Box<dyn Error>> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let request = Request::get(format!("http://{address}/ticks"))
        .header("authorization", format!("Bearer {token}"))
        .body(Empty::new())?;
    Ok(client.request(request).await?)
}
