//! The lines that a run prints: what was checked, the figure, and what it had to be.

use std::fmt::Display;

/// Checks so far.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    failed: usize,
}

impl Checks {
    /// One check, printed.
    pub(crate) fn check(
        &mut self,
        name: &str,
        passed: bool,
        figure: impl Display,
        bar: impl Display,
    ) {
        let word = if passed { "ok    " } else { "FAILED" };
        println!("{word} {name}: {figure} (must be {bar})");
        self.failed += usize::from(!passed);
    }

    /// A figure that nothing depends on.
    pub(crate) fn note(&self, name: &str, figure: impl Display) {
        println!("       {name}: {figure}");
    }

    /// Whether none failed.
    pub(crate) fn all_passed(&self) -> bool {
        self.failed == 0
    }
}

/// Bytes as MiB, for people.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
