//! How certificates stand, as others are told.

use serde::Serialize;
use weir_acme::Listed;

/// How a certificate stands. Times are seconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum Certificate {
    /// Ordered by ACME for one host.
    Ordered(Listed),
    /// From `[[tls.certificates]]`.
    File {
        /// The names that it is valid for.
        names: Vec<String>,
        /// When it ends; `None` if it does not say.
        expires: Option<u64>,
    },
}
