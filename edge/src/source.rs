//! Whom an answer is from: a parent or an origin, as the access log and Cache-Status tell it.

use http::{HeaderMap, HeaderValue, header};
use std::sync::Arc;
use std::time::Duration;

/// Whom an answer is from, and what is told of the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Its URL.
    pub(crate) member: Arc<str>,
    /// Whether it is a parent, or an origin.
    pub(crate) is_parent: bool,
    /// From the request to the head of the answer.
    pub(crate) waited: Duration,
    /// What it, and those that it asked, say in Cache-Status; the farthest first.
    pub(crate) cache_status: Box<[HeaderValue]>,
}

impl Source {
    /// Of an answer of this member with these fields, as long as nothing else is known: an origin.
    pub(crate) fn of(member: &Arc<str>, waited: Duration, fields: &HeaderMap) -> Self {
        Self {
            member: Arc::clone(member),
            is_parent: false,
            waited,
            cache_status: fields.get_all(header::CACHE_STATUS).iter().cloned().collect(),
        }
    }
}
