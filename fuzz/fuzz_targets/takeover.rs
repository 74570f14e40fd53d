//! The lines of a takeover: any bytes are one, of another version, or malformed; one that is read and
//! written is read again as the same.
#![no_main]

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use weir_protocol::takeover::{FromNew, FromOld, read, write};

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    again::<FromNew>(line);
    again::<FromOld>(line);
});

fn again<T: Serialize + DeserializeOwned + PartialEq + Debug>(line: &[u8]) {
    let Ok(said) = read::<T>(line) else { return };
    let mut written = Vec::new();
    write(&mut written, &said).expect("it was read");
    assert_eq!(written.pop(), Some(b'\n'));
    assert_eq!(read::<T>(&written).expect("it was written"), said);
}
