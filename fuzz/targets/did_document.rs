#![no_main]

use attach_gateway::fuzzing::document;

libfuzzer_sys::fuzz_target!(|input: &[u8]| document(input));
