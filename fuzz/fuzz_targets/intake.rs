//! A target and a Host: what comes out has a host and a path, or an error.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let (target, host) = input.split_at(end);
    weir_edge::fuzzing::intake(target, host.get(1..).unwrap_or_default());
});
