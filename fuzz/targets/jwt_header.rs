#![no_main]

use attach_gateway::fuzzing::header;

libfuzzer_sys::fuzz_target!(|input: &[u8]| header(input));
