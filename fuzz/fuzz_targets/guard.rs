//! The wire guard: its verdict must not depend on how the bytes were split.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some((&piece, bytes)) = input.split_first() {
        weir_edge::fuzzing::guard(bytes, usize::from(piece));
        weir_edge::fuzzing::guard(bytes, 1);
    }
});
