#![no_main]

use attach_gateway::fuzzing::did;

libfuzzer_sys::fuzz_target!(|input: &[u8]| did(input));
