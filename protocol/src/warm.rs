//! What became of URLs that a node was asked to fetch ahead, and the bounds that a node keeps to.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// URLs of one [`Question::Warm`](crate::question::Question::Warm) under way at once.
pub const AT_ONCE: usize = 32;

/// How long one URL may take, its body included. What is being stored by then goes on.
pub const LONGEST: Duration = Duration::from_secs(60);

/// What came of fetching a URL.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fetched {
    /// The URL.
    pub url: String,
    /// The status that it was answered with, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How it came to be stored; absent where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cached>,
    /// What went wrong, in words; absent where all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub ms: f64,
}

/// How a response comes to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cached {
    /// It was before.
    Hit,
    /// It was fetched for this request.
    Stored,
    /// It was being fetched for another.
    Collapsed,
}
