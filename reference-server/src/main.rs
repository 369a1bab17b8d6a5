//! The binary `wst`; see the library of the same package.

#![forbid(unsafe_code)]

use std::{alloc::System, process::ExitCode};

use workspace_token_key_memory::KeyMemory;
use zeroizing_alloc::ZeroAlloc;

/// Wipes memory when it is freed: hyper's read buffers hold requests, tokens included, and nothing else
/// would wipe them. In front of it, the vault that keys lie in.
#[global_allocator]
static ALLOCATOR: KeyMemory<ZeroAlloc<System>> = KeyMemory::new(ZeroAlloc(System));

fn main() -> ExitCode {
    workspace_token_server::cli::main()
}
