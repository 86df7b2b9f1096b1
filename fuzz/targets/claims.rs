#![no_main]

use attach_gateway::fuzzing::claims;

libfuzzer_sys::fuzz_target!(|input: &[u8]| claims(input));
