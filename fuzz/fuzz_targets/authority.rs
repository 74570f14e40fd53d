//! Hosts and ports: the canonical form of a canonical form is itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_edge::fuzzing::authority(input));
