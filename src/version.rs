//! What this program is, as `weir --version` prints it: build.rs finds it out.

/// The version, the commit that the program is built from, its cargo features and its target.
pub(crate) const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit    ",
    env!("WEIR_COMMIT"),
    "\nfeatures  ",
    env!("WEIR_FEATURES"),
    "\ntarget    ",
    env!("WEIR_TARGET"),
);
