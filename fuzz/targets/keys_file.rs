#![no_main]

use attach_gateway::fuzzing::keys_file;

libfuzzer_sys::fuzz_target!(|input: &[u8]| keys_file(input));
