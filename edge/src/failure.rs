//! Why a request gets an answer of the node's own making, which becomes HTTP in
//! [`crate::respond`]; and why a response breaks off.

use crate::byte_budget::NoRoom;
use crate::error::{ClientError, StoreError, UpstreamError};
use http::StatusCode;
use weir_rules::access::Refusal;

/// The word for `memory.connections` in Cache-Status.
pub(crate) const MEMORY_LIMIT: &str = "memory-limit";

/// Why a request gets an answer of the node's own making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The client's fault.
    Client(ClientError),
    /// The upstream's.
    Upstream(UpstreamError),
    /// `only-if-cached`, and it is not (RFC 9111 §5.2.1.7).
    NotCached,
    /// No site has this host.
    UnknownHost,
    /// A rule of the site refuses it.
    Access(Refusal),
    /// PURGE from where it is not allowed.
    PurgeRefused,
    /// A node asks what this one cannot tell the worth of; why.
    CannotVouch(&'static str),
    /// `memory.connections` has no room for the request.
    NoMemory(NoRoom),
    /// Ours: the response could not be made.
    Internal(&'static str),
}

impl Failure {
    /// A stable word for Cache-Status detail and the log.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Client(error) => error.word,
            Self::Upstream(error) => error.word(),
            Self::NotCached => "only-if-cached",
            Self::UnknownHost => "unknown-host",
            Self::Access(refusal) => refusal.word(),
            Self::PurgeRefused => "purge-refused",
            Self::NoMemory(NoRoom::Budget) => MEMORY_LIMIT,
            Self::NoMemory(NoRoom::ClientShare) => "client-share",
            Self::CannotVouch(word) | Self::Internal(word) => word,
        }
    }

    /// The status of its answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Client(error) => error.status,
            Self::Upstream(error) => error.status(),
            Self::NotCached => StatusCode::GATEWAY_TIMEOUT,
            Self::UnknownHost => StatusCode::MISDIRECTED_REQUEST,
            Self::Access(refusal) => refusal.status(),
            Self::PurgeRefused => StatusCode::FORBIDDEN,
            Self::CannotVouch(_) | Self::NoMemory(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// One sentence for the client.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Client(error) => error.message.to_string(),
            // What the origin's address or libraries say is for the log, not for strangers.
            Self::Upstream(UpstreamError::Client(error)) => error.message.to_string(),
            Self::Upstream(UpstreamError::ClientShare) => {
                "Too many requests from your address wait for the origin.".to_owned()
            }
            Self::Upstream(error) => match error.status() {
                StatusCode::GATEWAY_TIMEOUT => "The origin did not answer in time.".to_owned(),
                StatusCode::SERVICE_UNAVAILABLE => "The origin is busy.".to_owned(),
                StatusCode::LOOP_DETECTED => {
                    "The route to the origin leads back to this node.".to_owned()
                }
                _ => "The origin gave no usable answer.".to_owned(),
            },
            Self::NotCached => "Not in the store, and the request has only-if-cached.".to_owned(),
            Self::UnknownHost => "No site has this host.".to_owned(),
            Self::Access(refusal) => refusal.message().to_owned(),
            Self::PurgeRefused => "PURGE is not allowed from here.".to_owned(),
            Self::CannotVouch(_) => {
                "This parent cannot vouch for its responses to the requesting node.".to_owned()
            }
            Self::NoMemory(NoRoom::Budget) => "This node is short of memory.".to_owned(),
            Self::NoMemory(NoRoom::ClientShare) => {
                "Requests from your address take too much of this node's memory.".to_owned()
            }
            Self::Internal(_) => "The response could not be made.".to_owned(),
        }
    }

    /// Whether the connection must be closed after the answer.
    pub(crate) fn closes(&self) -> bool {
        match self {
            Self::Client(error) | Self::Upstream(UpstreamError::Client(error)) => error.closes,
            _ => false,
        }
    }
}

/// Why a response broke off. The client sees its connection (or stream) end early, never a whole
/// message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Abort {
    /// The upstream broke off.
    Upstream(UpstreamError),
    /// A stored body could not be read on.
    Store(StoreError),
    /// This client was too slow for a body that is not stored, and no strong validator let it go
    /// on by a request of its own (invariant I7).
    FellBehind,
    /// This client was slower than `limits.slow_client_rate` while others waited for the upstream.
    TooSlow,
    /// The upstream went on after the length it had promised, or ended before.
    Length,
    /// A body could not be decompressed for this client, or grew larger than it may.
    Decoding(String),
}

impl std::fmt::Display for Abort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Upstream(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Decoding(why) => {
                write!(f, "the body could not be decompressed for the client: {why}")
            }
            Self::FellBehind => f.write_str(
                "the client was too slow for a body that is not \
                 stored",
            ),
            Self::TooSlow => f.write_str(
                "the client was slower than limits.slow_client_rate while others waited for the upstream",
            ),
            Self::Length => f.write_str("the upstream's body does not have the announced length"),
        }
    }
}

impl std::error::Error for Abort {}
