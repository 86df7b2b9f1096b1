#![no_main]

use attach_gateway::fuzzing::message;

libfuzzer_sys::fuzz_target!(|input: &[u8]| message(input));
