//! Errors by who is at fault. They become HTTP in one place: [`crate::respond`].

use http::StatusCode;
use std::borrow::Cow;

/// The client's fault. Each is answered with [`ClientError::status`]; the connection is closed
/// where [`ClientError::closes`] says that the next request's beginning is in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientError {
    /// What the client is told: 400, 405, 408, 413, 414, 417, 421, 431, 501, 505, …
    pub status: StatusCode,
    /// A stable kebab-case word, shown as Cache-Status detail and in the log.
    pub word: &'static str,
    /// One sentence that names the field or part and what is accepted.
    pub message: Cow<'static, str>,
    /// Whether framing is in doubt, so that the connection must be closed after the answer.
    pub closes: bool,
}

impl ClientError {
    /// The request cannot be understood, but where the next one begins is certain.
    pub const fn refused(status: StatusCode, word: &'static str, message: &'static str) -> Self {
        Self { status, word, message: Cow::Borrowed(message), closes: false }
    }

    /// Framing is in doubt, or bytes will stay unread: the connection closes after the answer.
    pub const fn closing(status: StatusCode, word: &'static str, message: &'static str) -> Self {
        Self { status, word, message: Cow::Borrowed(message), closes: true }
    }
}

impl std::fmt::Display for ClientError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.word)
    }
}

impl std::error::Error for ClientError {}

/// The upstream's fault, or that of the way there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamError {
    /// No connection: refused, no route, name not found, TLS failed. 502.
    Connect(String),
    /// No connection in time. 504.
    ConnectTimeout,
    /// No head in time. 504.
    FirstByteTimeout,
    /// The body stalled. The client's response is aborted (504 if no head went out).
    IdleTimeout,
    /// The whole exchange took too long. Abort (504 if no head went out).
    TotalTimeout,
    /// The head cannot be believed: not HTTP/1, two lengths, an unknown transfer coding, … 502.
    BadHead(String),
    /// The connection, or the stream, ended before the head was complete. 502.
    Reset(String),
    /// The head exceeds a limit of this node. 502.
    HeadTooLarge,
    /// The body broke off or its framing is wrong. Abort (502 if no head went out).
    BadBody(String),
    /// Too many requests wait for this origin. 503.
    Busy,
    /// Too many of the requests that wait for this origin are of this client's prefix. 503.
    ClientShare,
    /// No parent is of use, and the origin is not to be asked. 504.
    NoParent,
    /// A parent has met the request before. 508.
    Loop,
    /// The client's body broke off or grew too large, so the upstream request was aborted: not
    /// the upstream's fault after all.
    Client(ClientError),
}

impl UpstreamError {
    /// All clients left before the upstream was asked.
    pub(crate) const fn deserted() -> Self {
        Self::Client(ClientError::refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "client-left",
            "The clients left while the request waited for its turn.",
        ))
    }

    /// What a client is told whose response has not begun.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Connect(_)
            | Self::BadHead(_)
            | Self::Reset(_)
            | Self::HeadTooLarge
            | Self::BadBody(_) => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout
            | Self::FirstByteTimeout
            | Self::IdleTimeout
            | Self::TotalTimeout
            | Self::NoParent => StatusCode::GATEWAY_TIMEOUT,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::Busy | Self::ClientShare => StatusCode::SERVICE_UNAVAILABLE,
            Self::Client(error) => error.status,
        }
    }

    /// A stable kebab-case word, shown as Cache-Status detail, in the log and the metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Connect(_) => "origin-connect",
            Self::ConnectTimeout => "origin-connect-timeout",
            Self::FirstByteTimeout => "origin-first-byte-timeout",
            Self::IdleTimeout => "origin-idle-timeout",
            Self::TotalTimeout => "origin-total-timeout",
            Self::BadHead(_) => "origin-bad-head",
            Self::Reset(_) => "origin-reset",
            Self::HeadTooLarge => "origin-head-too-large",
            Self::BadBody(_) => "origin-bad-body",
            Self::Busy => "origin-busy",
            Self::ClientShare => "client-share",
            Self::NoParent => "no-parent",
            Self::Loop => "loop",
            Self::Client(error) => error.word,
        }
    }

    /// The error that a parent tells by its word; `None` where the word says nothing about whether
    /// another would fare better.
    pub fn told(word: &str) -> Option<Self> {
        let why = || "as reported by a parent".to_owned();
        Some(match word {
            "origin-connect" => Self::Connect(why()),
            "origin-connect-timeout" => Self::ConnectTimeout,
            "origin-first-byte-timeout" => Self::FirstByteTimeout,
            "origin-idle-timeout" => Self::IdleTimeout,
            "origin-bad-head" => Self::BadHead(why()),
            "origin-reset" => Self::Reset(why()),
            "origin-head-too-large" => Self::HeadTooLarge,
            "origin-bad-body" => Self::BadBody(why()),
            "origin-busy" => Self::Busy,
            "client-share" => Self::ClientShare,
            "origin-total-timeout" => Self::TotalTimeout,
            "loop" => Self::Loop,
            _ => return None,
        })
    }

    /// Whether no answer of the origin could be had, so that RFC 9111 §4.2.4 lets a stale response
    /// stand in. The client's own failures are no such case.
    pub fn is_disconnect(&self) -> bool {
        !matches!(self, Self::Client(_) | Self::Loop)
    }
}

impl UpstreamError {
    /// The error in words, as one of this upstream: `origin` or `parent`.
    pub(crate) fn of(&self, upstream: &'static str) -> impl std::fmt::Display {
        std::fmt::from_fn(move |f| self.write(upstream, f))
    }

    fn write(&self, upstream: &str, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(why) => write!(f, "no connection to the {upstream}: {why}"),
            Self::ConnectTimeout => {
                write!(f, "no connection to the {upstream} within timeouts.connect")
            }
            Self::FirstByteTimeout => {
                write!(f, "no answer from the {upstream} within timeouts.first_byte")
            }
            Self::IdleTimeout => write!(f, "the {upstream}'s body stalled for timeouts.idle"),
            Self::TotalTimeout => {
                write!(f, "the exchange with the {upstream} took longer than timeouts.total")
            }
            Self::BadHead(why) => write!(f, "the {upstream}'s answer cannot be understood: {why}"),
            Self::Reset(why) => {
                write!(f, "the {upstream} closed the connection before it answered: {why}")
            }
            Self::HeadTooLarge => write!(
                f,
                "the {upstream}'s response has larger headers than limits.origin_header_bytes, or \
                 more than limits.origin_header_fields"
            ),
            Self::BadBody(why) => write!(f, "the {upstream}'s body ended early: {why}"),
            Self::Busy => write!(f, "too many requests wait for this {upstream}"),
            Self::ClientShare => write!(
                f,
                "too many of the requests that wait for this {upstream} are of one client"
            ),
            Self::NoParent => {
                f.write_str("no parent answers, and parents.origin_fallback is false")
            }
            Self::Loop => f.write_str("a parent has handled the request before"),
            Self::Client(error) => write!(f, "{error}"),
        }
    }
}

impl std::fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.write("origin", f)
    }
}

impl std::error::Error for UpstreamError {}

/// Why a stored response could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreError(Box<str>);

impl StoreError {
    /// In words.
    pub(crate) fn new(why: impl Into<Box<str>>) -> Self {
        Self(why.into())
    }

    /// Why, where something else than reading a body failed.
    pub(crate) fn why(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the stored body cannot be read: {}", self.0)
    }
}

impl std::error::Error for StoreError {}

/// Why a node could not start, or not take a new configuration. `Display` names key and value.
#[derive(Debug)]
pub struct StartError(pub String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}
