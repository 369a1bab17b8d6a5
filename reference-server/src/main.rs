//! The binary `wst`; see the library of the same package.

use std::{alloc::System, process::ExitCode};

use zeroizing_alloc::ZeroAlloc;

/// Wipes memory when it is freed: hyper's read buffers hold requests, tokens included, and nothing else
/// would wipe them.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    workspace_token_server::cli::main()
}
