//! Lines of access logs and traces: any line is something, and is read alike each time.
#![no_main]

use weir_simulation::{log, trace};

libfuzzer_sys::fuzz_target!(|line: &str| {
    let read = || log::read(line, |target| target.starts_with("/admin/"));
    assert_eq!(read(), read());
    assert_eq!(trace::read(line), trace::read(line));
});
