//! The form of an explanation, as JSON has it.

use serde::Serialize;

/// What `weir explain` shows. Times are RFC 3339 or seconds as named; unknown is `null`.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The node's name.
    pub node: String,
    /// The site that takes the URL; `None` when no site has that host.
    pub site: Option<String>,
    /// The origins that the request is for, and the Host that each is asked with.
    pub origins: Vec<ExplainedOrigin>,
    /// What a client must satisfy before anything else; no client's address is known.
    pub access: Vec<ExplainedAccess>,
    /// Which rule of the site decides each setting, in the order of the settings.
    pub rules: Vec<ExplainedRule>,
    /// What a rule has the request be for in place of the URL, if one does.
    pub rewrite: Option<ExplainedRewrite>,
    /// The key in its readable form.
    pub key: String,
    /// What the cookies of the request are for; `None` if it has none.
    pub cookies: Option<ExplainedCookies>,
    /// `fresh`, `stale`, `partial`, `purged`, `filling`, `not-stored`, `bypass`, `unknown-host`,
    /// `redirected`, `refused`.
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
    /// The last purge that matches the URL, as far as the node remembers.
    pub last_purge: Option<ExplainedPurge>,
}

/// An origin.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedOrigin {
    /// Its URL.
    pub url: String,
    /// The Host that it is asked with.
    pub host: String,
    /// The name of its pool; `default` of the site's `origins`.
    pub pool: String,
}

/// What a request is for after a rewrite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedRewrite {
    /// Path and query.
    pub to: String,
    /// Whether the key has them, or the origins alone are asked for them.
    pub key: bool,
}

/// A rule with access settings that matches.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedAccess {
    /// Its name.
    pub rule: String,
    /// The settings: `allow`, `deny`, `referer`, `signed`, `rate`, `basic_auth`.
    pub settings: Vec<&'static str>,
}

/// The cookies of a request, by name and in the client's order, each with what it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExplainedCookies {
    /// Those that make the request skip the store.
    pub bypass: Vec<String>,
    /// Those in the key.
    pub key: Vec<String>,
    /// Those that the origin does not get.
    pub ignored: Vec<String>,
    /// Those that the origin gets, and that `Vary: Cookie` selects by.
    pub other: Vec<String>,
    /// Whether the request is for a static asset that is fetched for everyone, so that `bypass` has no effect.
    pub for_everyone: bool,
}

/// A setting, and the rule that decides it.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedRule {
    /// The key of the configuration: `default_ttl`, …
    pub setting: &'static str,
    /// The name of the rule.
    pub rule: String,
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
    /// The codings in which it is stored, too.
    pub codings: Vec<ExplainedCoding>,
    /// Why it is not compressed; `None` if it is, or if its site compresses nothing.
    pub not_compressed: Option<String>,
}

/// A form of a stored response in a content coding.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedCoding {
    /// `gzip`, `br` or `zstd`.
    pub coding: &'static str,
    /// Its length.
    pub bytes: u64,
}

/// Why a response was not stored.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedDecision {
    /// A stable word, kebab-case.
    pub word: String,
    /// A sentence that names the header or rule.
    pub sentence: String,
    /// What can be done about it, if that is known.
    pub remedy: Option<&'static str>,
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
    /// Whether it, or one before it, removed what was stored, and nothing was stored since.
    pub removed: bool,
}
