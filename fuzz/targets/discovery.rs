#![no_main]

use attach_gateway::fuzzing::metadata;

libfuzzer_sys::fuzz_target!(|input: &[u8]| metadata(input));
