//! Workspace tokens without a framework: a tower service, which hyper serves.
//!
//! Run with
//! ```text
//! cargo run --example plain_tower
//! ```
//! It prints a token; then, in another terminal:
//! ```text
//! TOKEN=…
//! curl -i http://127.0.0.1:3001/w/acme/notes                                    # 401, says what to do
//! curl -i http://127.0.0.1:3001/w/acme/notes -H "Authorization: Bearer $TOKEN"  # 200
//! curl -i http://127.0.0.1:3001/w/other/notes -H "Authorization: Bearer $TOKEN" # 401, another workspace
//! curl -i http://127.0.0.1:3001/health                                          # 400, names no workspace
//! ```

use std::{convert::Infallible, error::Error};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tower::{Layer as _, service_fn};
use tower_workspace_token::{
    Keys, MemoryStore, PathTemplate, TokenAuthority, TokenName, VerifiedToken, WorkspaceTokenLayer,
};

/// Answers a request that the layer has let in.
async fn notes(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    // The layer puts it there; without the layer there is none.
    let Some(token) = request.extensions().get::<VerifiedToken>() else {
        let mut response = Response::new(String::from("no layer\n"));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return Ok(response);
    };
    let text = format!("notes of {}\n", token.workspace());
    Ok(Response::new(text))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = service_fn(notes);

    // --- what is added to the app ---
    let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate()?).build()?;
    let workspace_of = PathTemplate::new("/w/{workspace}/notes");
    let app = WorkspaceTokenLayer::new(authority.clone(), workspace_of).layer(app);
    // --- and that is all ---

    let issued = authority
        .issue(&"acme".parse()?, &TokenName::primary())
        .await?;
    eprintln!("TOKEN={}", issued.expose_secret());
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3001");
    let listener = tokio::net::TcpListener::bind(address).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let app = TowerToHyperService::new(app);
    loop {
        let (stream, _peer) = listener.accept().await?;
        let app = app.clone();
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            let served = server.serve_connection(TokioIo::new(stream), app).await;
            if let Err(error) = served {
                eprintln!("a connection ended: {error}");
            }
        });
    }
}
