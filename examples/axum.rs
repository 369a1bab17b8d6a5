//! An axum app gains workspace tokens: the lines between the two marks, and one extractor.
//!
//! Run with
//! ```text
//! cargo run --example axum --features axum
//! ```
//! It prints a token; then, in another terminal:
//! ```text
//! TOKEN=…
//! curl -i http://127.0.0.1:3000/w/acme/notes                                    # 401, says what to do
//! curl -i http://127.0.0.1:3000/w/acme/notes -H "Authorization: Bearer $TOKEN"  # 200
//! curl -i http://127.0.0.1:3000/w/other/notes -H "Authorization: Bearer $TOKEN" # 401, another workspace
//! ```

use std::error::Error;

use axum::{Router, routing::get};
use tower_workspace_token::{
    Keys, MemoryStore, PathTemplate, TokenAuthority, TokenName, VerifiedToken, WorkspaceTokenLayer,
};

async fn notes(token: VerifiedToken) -> String {
    format!("notes of {}\n", token.workspace())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = Router::new().route("/w/{workspace}/notes", get(notes));

    // --- what is added to the app ---
    let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate()?).build()?;
    let workspace_of = PathTemplate::new("/w/{workspace}/*");
    let app = app.layer(WorkspaceTokenLayer::new(authority.clone(), workspace_of));
    // --- and that is all ---

    let issued = authority
        .issue(&"acme".parse()?, &TokenName::primary())
        .await?;
    eprintln!("TOKEN={}", issued.expose_secret());
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3000");
    let listener = tokio::net::TcpListener::bind(address).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
