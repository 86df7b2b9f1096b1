//! The program `attach-gateway`. Everything is in the library, so that it can be tested.

use std::process::ExitCode;

fn main() -> ExitCode {
    attach_gateway::main()
}
