#![no_main]

use attach_gateway::fuzzing::api_key;

libfuzzer_sys::fuzz_target!(|input: &[u8]| api_key(input));
