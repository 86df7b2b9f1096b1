#![no_main]

use attach_gateway::fuzzing::key_set;

libfuzzer_sys::fuzz_target!(|input: &[u8]| key_set(input));
