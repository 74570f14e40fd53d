//! The files of the disk store, with their checksums made right: any bytes are a record, a footer, a
//! change of the journal, or malformed; one that is read and written is read again as the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_store::untrusted::decode(bytes));
