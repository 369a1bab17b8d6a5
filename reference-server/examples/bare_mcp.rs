//! The tools of `wst` behind rmcp alone, without a token asked for: what `tests/figures/load` compares with.
//!
//! ```text
//! cargo run --release -p workspace-token-server --features bare --example bare_mcp -- FOLDER
//! ```

use std::alloc::System;

use zeroizing_alloc::ZeroAlloc;

/// The server's own, so that the two differ by what is around the tools and by nothing else.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1);
    let folder = folder.ok_or_else(|| anyhow::anyhow!("usage: bare_mcp FOLDER"))?;
    workspace_token_server::bare::serve(folder.as_ref()).await
}
