//! Frames of HTTP/3, and the pseudo-header fields in them: nothing panics, however the bytes come.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let [piece, bytes @ ..] = input {
        weir_edge::fuzzing::http3(bytes, usize::from(*piece));
    }
});
