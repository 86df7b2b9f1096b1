//! The program `attach-gateway`. Everything is in the library, so that it can be tested.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// A request makes some fifty small allocations; musl's own allocator, in the static binary, takes a lock for each.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    attach_gateway::main()
}
