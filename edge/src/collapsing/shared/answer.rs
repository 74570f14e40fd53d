//! What the upstream answered a fill.

use crate::decisions::Why;
use crate::derived::Stamps;
use crate::source::Source;
use crate::store::{Selecting, Stored};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::sync::Arc;
use weir_rules::fields;
use weir_rules::storability::{Reason, Reuse, Terms};
use weir_rules::vary;

/// What the upstream answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A response; its body follows.
    Response(Arc<FillHead>),
    /// This stored response: a 304 says that it is current again, or it has just begun to be stored in slices.
    Stored {
        /// It.
        stored: Arc<Stored>,
        /// The status of the answer, 304 or 206.
        status: StatusCode,
        /// Whether it is in the store; else it is only for the request that asked.
        shared: bool,
        /// Which requests that waited may be answered with it.
        reuse: Reuse,
        /// Set-Cookie of the answer, for the request that asked alone.
        cookies: Vec<HeaderValue>,
        /// The upstream that sent the answer.
        source: Arc<Source>,
    },
    /// The response to the anonymous request for a static asset is not for everyone: it is neither
    /// stored nor sent.
    NotForEveryone(Arc<Source>),
    /// The answer to a request for a slice is not that slice: whoever wants it asks in another way.
    NoSlice(Arc<Source>),
}

impl Answer {
    /// Which requests that waited may be answered with it; `None` if it is only for the request that
    /// asked.
    pub(crate) fn reuse(&self) -> Option<Reuse> {
        match self {
            Self::Response(head) => head.terms.as_ref().ok().map(|terms| terms.reuse),
            Self::Stored { shared, reuse, .. } => shared.then_some(*reuse),
            Self::NotForEveryone(_) | Self::NoSlice(_) => None,
        }
    }

    /// The upstream that sent it.
    pub(crate) fn source(&self) -> &Arc<Source> {
        match self {
            Self::Response(head) => &head.source,
            Self::Stored { source, .. } | Self::NotForEveryone(source) | Self::NoSlice(source) => {
                source
            }
        }
    }
}

/// Whether a response goes into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// It does.
    Store,
    /// It goes to the disk while it arrives: memory does not hold so much.
    StoreOnDisk,
    /// It only goes to the readers, for this reason.
    Pass(Why),
}

/// The head of a response that is being filled.
#[derive(Debug)]
pub(crate) struct FillHead {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its fields as they are sent, less Age and this node's Cache-Status.
    pub(crate) fields: HeaderMap,
    /// The upstream's Age, if it sent one, so that clients are shown one.
    pub(crate) age: Option<HeaderValue>,
    /// The terms on which it is stored and shared, or why it is neither.
    pub(crate) terms: Result<Terms, Reason>,
    /// Whether it goes into the store (it may be shared and yet too large).
    pub(crate) keeping: Keeping,
    /// The selecting values it was fetched for.
    pub(crate) selecting: Option<Selecting>,
    /// Cache tags.
    pub(crate) tags: Box<[Box<str>]>,
    /// Surrogate-Control lines, which are stored and not sent.
    pub(crate) surrogate_control: Vec<HeaderValue>,
    /// Offset of its first byte in the representation; not 0 for a 206.
    pub(crate) start: u64,
    /// One past its last byte's offset, where the upstream said.
    pub(crate) end: Option<u64>,
    /// Length of the whole representation, where known.
    pub(crate) complete_length: Option<u64>,
    /// The purges that it has been judged by (invariant I2).
    pub(crate) stamps: Stamps,
    /// The upstream that sent it.
    pub(crate) source: Arc<Source>,
}

impl FillHead {
    /// Whether it goes into the store.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(self.keeping, Keeping::Store | Keeping::StoreOnDisk)
    }

    /// Whether it is not a part of the representation.
    pub(crate) fn is_whole(&self) -> bool {
        self.status != StatusCode::PARTIAL_CONTENT
    }

    /// Whether it has all bytes of the representation: a part may, too, such as that of `bytes=0-`.
    pub(crate) fn has_all(&self) -> bool {
        let from_first_to_last =
            self.start == 0 && self.end.is_some() && self.end == self.complete_length;
        self.is_whole() || from_first_to_last
    }

    /// Whether it has more cache tags than are kept.
    pub(crate) fn has_too_many_tags(&self) -> bool {
        matches!(self.terms, Err(Reason::TooManyTags(_)))
    }

    /// Whether a request selects this response (RFC 9111 §4.1).
    pub(crate) fn selected_by(&self, request: &HeaderMap) -> bool {
        self.selecting.as_ref().is_none_or(|selecting| {
            vary::selecting_values(&selecting.fields, request) == selecting.values
        })
    }
}

/// An interim response (1xx) on its way to the clients.
#[derive(Clone, Debug)]
pub(crate) struct Interim {
    /// 102, 103, …; never 100 or 101.
    pub(crate) status: StatusCode,
    /// Its fields.
    pub(crate) fields: HeaderMap,
}

impl Interim {
    /// One with these fields, as the upstream sent them.
    pub(crate) fn of(status: StatusCode, fields: &HeaderMap) -> Self {
        let mut fields = fields.clone();
        fields::remove_hop_by_hop(&mut fields);
        Self { status, fields }
    }
}
