//! What a node keeps of a response on disk beside what the store itself knows: any bytes are a record or
//! none; one that is read and written is read again as the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|parts: (&[u8], &[u8])| weir_edge::fuzz_disk_record(parts.0, parts.1));
