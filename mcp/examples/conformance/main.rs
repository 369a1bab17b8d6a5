//! A server for MCP's conformance suite: every tool, prompt and resource that it asks for, under the
//! scrub, token and session layers.
//!
//! ```text
//! cargo run -p tower-workspace-token-mcp --example conformance -- [--listen ADDRESS]
//! npx @modelcontextprotocol/conformance server --url URL --requirements 2026-07-28
//! ```
//! It prints one line of JSON when it accepts connections: `url` carries the token as a query parameter,
//! for the suite, which sends no headers of its own; `mcp_url` and `secret` are for everybody else.
//! `tests/conformance/run` does all this. To put another store or cipher under the suite, include `fixture`
//! and hand [`fixture::serve`] an authority of your own.

mod fixture;

use std::{error::Error, net::SocketAddr};

use tower_workspace_token::{Keys, MemoryStore, TokenAuthority};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = address(std::env::args().skip(1))?;
    let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate()?).build()?;
    fixture::serve(authority, address).await
}

fn address(mut arguments: impl Iterator<Item = String>) -> Result<SocketAddr, Box<dyn Error>> {
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => Ok(SocketAddr::from(([127, 0, 0, 1], 0))),
        (Some("--listen"), Some(address)) => Ok(address.parse()?),
        _ => Err("usage: conformance [--listen ADDRESS]".into()),
    }
}
