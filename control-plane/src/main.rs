//! The program `attach-control-plane`. Everything is in the library, so that it can be tested.

use std::process::ExitCode;

fn main() -> ExitCode {
    attach_control_plane::main()
}
