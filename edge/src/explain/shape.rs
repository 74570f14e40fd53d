//! The form of an explanation, as JSON has it.

use serde::Serialize;

/// What `weir explain` shows. Times are RFC 3339 or seconds as named; unknown is `null`.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The node's name.
    pub node: String,
    /// The site that takes the URL; `None` when no site has that host.
    pub site: Option<String>,
    /// The origins of the site, and the Host that each is asked with.
    pub origins: Vec<ExplainedOrigin>,
    /// The key in its readable form.
    pub key: String,
    /// `fresh`, `stale`, `partial`, `purged`, `filling`, `not-stored`, `unknown-host`.
    pub state: &'static str,
    /// What a request would meet now, in one sentence.
    pub sentence: String,
    /// The stored response these headers select.
    pub selected: Option<ExplainedVariant>,
    /// All others that are stored: variants, and the copy on disk of a response that memory has.
    pub variants: Vec<ExplainedVariant>,
    /// Whether something is on disk that is hidden until the log was replayed.
    pub hidden_on_disk: bool,
    /// The last decision not to store, while it is remembered.
    pub not_stored: Option<ExplainedDecision>,
    /// The last purge that matches the URL.
    pub last_purge: Option<ExplainedPurge>,
}

/// An origin.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedOrigin {
    /// Its URL.
    pub url: String,
    /// The Host that it is asked with.
    pub host: String,
}

/// One stored response.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedVariant {
    /// `memory` or `disk`: where its body is.
    pub stored_in: &'static str,
    /// Names and normalised values of the selecting fields.
    pub selecting: Vec<(String, String)>,
    /// Its status.
    pub status: u16,
    /// Body bytes held.
    pub bytes: u64,
    /// The representation's length, when known and only part of it is held.
    pub complete_length: Option<u64>,
    /// Current age in seconds.
    pub age: u32,
    /// Freshness lifetime in seconds.
    pub lifetime: u32,
    /// Where the lifetime came from: `max-age of Cache-Control`, …
    pub lifetime_source: String,
    /// Seconds of freshness left; negative when stale.
    pub ttl: i64,
    /// ETag.
    pub etag: Option<String>,
    /// Last-Modified.
    pub last_modified: Option<String>,
    /// Cache tags.
    pub tags: Vec<String>,
    /// Times it was served from memory; `None` of one on disk.
    pub hits: Option<u64>,
    /// The seq applied when its fetch began; `None` of another log than the one followed now.
    pub filled_at_seq: Option<u64>,
}

/// Why a response was not stored.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedDecision {
    /// A stable word, kebab-case.
    pub word: String,
    /// A sentence that names the header or rule.
    pub sentence: String,
    /// Seconds since.
    pub seconds_ago: u64,
    /// The upstream's status.
    pub status: Option<u16>,
}

/// A purge that matches a URL.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedPurge {
    /// Its seq.
    pub seq: u64,
    /// Soft or hard.
    pub soft: bool,
}
