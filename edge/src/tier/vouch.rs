//! A parent vouches for a response: it says which purges the response has been judged by, and sends
//! on the fields that the last hop removes.

use super::Asker;
use crate::failure::Failure;
use crate::state::NodeState;
use crate::store::Stored;
use http::{HeaderMap, HeaderName, HeaderValue};
use weir_rules::fields::SURROGATE_CONTROL;
use weir_rules::invalidation::Seq;
use weir_rules::tier::{self, Provenance};

static SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
static CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");

/// The fields of a response that are sent to nodes and not to clients.
#[derive(Debug, Default)]
pub(crate) struct NodeFields<'a> {
    /// Cache tags.
    pub(crate) tags: &'a [Box<str>],
    /// Surrogate-Control lines.
    pub(crate) surrogate_control: Vec<HeaderValue>,
    /// Whether there are more tags than are kept, so that no node may store the response.
    pub(crate) too_many_tags: bool,
}

impl<'a> NodeFields<'a> {
    /// Those of a stored response.
    pub(crate) fn of_stored(stored: &'a Stored) -> Self {
        let surrogate_control = match stored.fields().first(&SURROGATE_CONTROL) {
            Some(_) => {
                stored.fields().to_map().get_all(&SURROGATE_CONTROL).iter().cloned().collect()
            }
            None => Vec::new(),
        };
        Self { tags: &stored.tags, surrogate_control, too_many_tags: false }
    }

    fn write(self, fields: &mut HeaderMap) {
        for tag in self.tags {
            // A tag with both a comma and a space can only come from Cache-Groups, which travels.
            let spaced = tag.bytes().any(|byte| byte.is_ascii_whitespace());
            let name = match (tag.contains(','), spaced) {
                (false, _) => &CACHE_TAG,
                (true, false) => &SURROGATE_KEY,
                (true, true) => continue,
            };
            if let Ok(tag) = HeaderValue::from_str(tag) {
                fields.append(name, tag);
            }
        }
        for line in self.surrogate_control {
            fields.append(&SURROGATE_CONTROL, line);
        }
        if self.too_many_tags {
            fields.insert(tier::TAGS, HeaderValue::from_static("too-many"));
        }
    }
}

impl Asker {
    /// Adds to a response's fields the seqs that the node which asks judges it by, and the fields
    /// for nodes.
    ///
    /// # Errors
    /// This node follows another log since it admitted the request: earlier seqs mean nothing in
    /// it.
    pub(crate) fn vouch(
        &self,
        state: &NodeState,
        fields: &mut HeaderMap,
        filled_at: Seq,
        for_nodes: NodeFields<'_>,
    ) -> Result<(), Failure> {
        const CHANGED: Failure = Failure::CannotVouch("log-changed");
        // Compared after filled_at was read: its numbers hold as long as the log is the same.
        if !self.followed.is_same_log(&state.purges.standing()) {
            return Err(CHANGED);
        }
        let log = self.followed.log.clone().ok_or(CHANGED)?;
        let filled_at = self.followed.of_log(filled_at).ok_or(CHANGED)?;
        let (filled_at, checked) = self.worth(filled_at);
        let provenance = Provenance { log, filled_at, checked };
        let value = HeaderValue::from_str(&provenance.to_string());
        let value = value.map_err(|_| Failure::CannotVouch("no-log"))?;
        fields.insert(tier::FILLED_AT, value);
        for_nodes.write(fields);
        Ok(())
    }
}
