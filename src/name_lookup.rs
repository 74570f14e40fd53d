//! Where a static program looks up host names.

/// Has the C library look up host names in /etc/hosts and by DNS alone, if it is part of the program. Other sources
/// that /etc/nsswitch.conf may name are libraries of the system, made for the C library there: one of another version
/// that loads them may crash. Called before any thread is started.
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
#[allow(unsafe_code, reason = "no crate has a safe function for it")]
pub(crate) fn use_hosts_and_dns() {
    use std::ffi::{c_char, c_int};

    unsafe extern "C" {
        /// nss.h of the GNU C library. It fails for unknown databases alone.
        fn __nss_configure_lookup(database: *const c_char, sources: *const c_char) -> c_int;
    }
    // SAFETY: both strings end with a zero byte and live for ever, and there is no other thread.
    unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
}

/// A program that shares the system's C library looks up names as the system is configured to.
#[cfg(not(all(target_env = "gnu", target_feature = "crt-static")))]
pub(crate) fn use_hosts_and_dns() {}
