//! The lines of control, of nodes and of relays: any bytes are one, or malformed; one that is read and written
//! is read again.
#![no_main]

use serde::Serialize;
use serde::de::DeserializeOwned;
use weir_protocol::frame::{FromControl, FromNode};
use weir_protocol::relay::{FromRelay, ToRelay};

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    again::<FromControl>(line);
    again::<FromNode>(line);
    again::<FromRelay>(line);
    again::<ToRelay>(line);
});

fn again<T: Serialize + DeserializeOwned>(line: &[u8]) {
    let Ok(frame) = serde_json::from_slice::<T>(line) else { return };
    // What this version does not know is not written.
    let Ok(written) = serde_json::to_string(&frame) else { return };
    assert!(serde_json::from_str::<T>(&written).is_ok(), "{written}");
}
