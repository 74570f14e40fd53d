//! Headers of the PROXY protocol: nothing panics, and nothing else is taken for one.
#![no_main]

libfuzzer_sys::fuzz_target!(|header: &[u8]| weir_edge::fuzzing::proxy_header(header));
