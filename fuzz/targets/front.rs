#![no_main]

use attach_gateway::fuzzing::requests;

libfuzzer_sys::fuzz_target!(|input: &[u8]| requests(input));
