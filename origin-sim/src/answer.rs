//! A reply made concrete for one request: which part of which body, behind which head.

use crate::body::Body;
use crate::counters::Recorded;
use crate::faults::{self, Fault};
use crate::reply::{Framing, Reply};
use crate::respond::After;
use crate::select::{Representation, Selected, whole_secs};
use bytes::Bytes;
use http::StatusCode;
use std::time::{Duration, SystemTime};

/// What a 304 leaves out.
const DESCRIBE_CONTENT: [&str; 4] =
    ["Content-Type", "Content-Encoding", "Content-Language", "Content-Length"];

/// A reply made concrete for one request.
pub(crate) struct Answer<'a> {
    pub(crate) reply: &'a Reply,
    pub(crate) status: u16,
    pub(crate) head: Vec<u8>,
    pub(crate) body: Body,
    /// Where in `body` the answer begins.
    pub(crate) first: u64,
    /// Bytes of body to send; `None` without end.
    pub(crate) len: Option<u64>,
    pub(crate) framing: Framing,
    pub(crate) after: After,
}

impl<'a> Answer<'a> {
    pub(crate) fn new(request: &Recorded, reply: &'a Reply, keep_alive: bool) -> Answer<'a> {
        let body = if reply.echo { Body::Bytes(echo(request)) } else { reply.body.clone() };
        let last_modified = reply.last_modified_secs_ago.map(secs_ago);
        let selected = select(request, reply, &body, last_modified);
        let (status, first, len) = match selected {
            Selected::Whole => (reply.status, 0, body.len()),
            Selected::Part { first, len } => (206, first, Some(len)),
            Selected::NotModified => (304, 0, Some(0)),
            Selected::Unsatisfiable => (416, 0, Some(0)),
        };
        let framing = match reply.framing {
            // HTTP/1.0 knows no chunks (RFC 9112 §6.1), and a body without end no length.
            Framing::Chunked if request.version == "HTTP/1.0" => Framing::UntilClose,
            Framing::Length if len.is_none() => Framing::UntilClose,
            framing => framing,
        };
        // RFC 9112 §6.3: these have no body, whatever their fields say.
        let bodiless = status < 200 || matches!(status, 204 | 304);
        let silent = bodiless || request.method == "HEAD";
        let mut answer = Answer {
            reply,
            status,
            head: Vec::new(),
            body,
            first,
            len,
            framing,
            after: After::KeepOpen,
        };
        if reply.close || !keep_alive || (framing == Framing::UntilClose && !silent) {
            answer.after = After::Close;
        }
        answer.write_head(selected, last_modified, bodiless);
        if silent {
            answer.len = Some(0);
            answer.framing = Framing::Length;
        }
        answer
    }

    fn write_head(&mut self, selected: Selected, modified: Option<SystemTime>, bodiless: bool) {
        let reply = self.reply;
        let reason = reply.reason.as_deref().filter(|_| self.status == reply.status);
        let mut head = status_line(self.status, reason);
        let scripted = |name: &str| reply.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        if reply.date && !scripted("Date") {
            push(&mut head, "Date", httpdate::fmt_http_date(SystemTime::now()).as_bytes());
        }
        if let Some(at) = modified.filter(|_| !scripted("Last-Modified")) {
            push(&mut head, "Last-Modified", httpdate::fmt_http_date(at).as_bytes());
        }
        if reply.echo && !scripted("Content-Type") {
            push(&mut head, "Content-Type", b"application/json");
        }
        if reply.ranges {
            push(&mut head, "Accept-Ranges", b"bytes");
        }
        for (name, value) in &reply.headers {
            // RFC 9110 §15.4.5: a 304 leaves out what describes content it does not carry.
            let describes = DESCRIBE_CONTENT.iter().any(|field| name.eq_ignore_ascii_case(field));
            if selected != Selected::NotModified || !describes {
                push(&mut head, name, value);
            }
        }
        let total = self.body.len().unwrap_or_default();
        match selected {
            Selected::Part { first, len } => {
                let range = format!("bytes {first}-{}/{total}", first + len - 1);
                push(&mut head, "Content-Range", range.as_bytes());
            }
            Selected::Unsatisfiable => {
                push(&mut head, "Content-Range", format!("bytes */{total}").as_bytes());
            }
            Selected::Whole | Selected::NotModified => {}
        }
        self.write_framing(&mut head, bodiless);
        if let Some(Fault::HugeHead(bytes)) = reply.fault {
            head.extend_from_slice(&faults::padding(bytes));
        }
        head.extend_from_slice(b"\r\n");
        self.head = head;
    }

    fn write_framing(&self, head: &mut Vec<u8>, bodiless: bool) {
        match self.reply.fault {
            Some(Fault::ContentLength(length)) => {
                push_length(head, length);
                if self.framing == Framing::Chunked {
                    push(head, "Transfer-Encoding", b"chunked");
                }
            }
            Some(Fault::TwoLengths(one, other)) => {
                push_length(head, one);
                push_length(head, other);
            }
            _ if bodiless => {}
            _ => match (self.framing, self.len) {
                (Framing::Length, Some(len)) => push_length(head, len),
                (Framing::Chunked, _) => push(head, "Transfer-Encoding", b"chunked"),
                _ => {}
            },
        }
        if !self.reply.trailers.is_empty() && self.framing == Framing::Chunked && !bodiless {
            let names: Vec<&str> = self.reply.trailers.iter().map(|(n, _)| n.as_str()).collect();
            push(head, "Trailer", names.join(", ").as_bytes());
        }
        if self.after == After::Close {
            push(head, "Connection", b"close");
        }
    }
}

fn select(
    request: &Recorded,
    reply: &Reply,
    body: &Body,
    last_modified: Option<SystemTime>,
) -> Selected {
    let scripted = |name: &str| {
        let field = reply.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        field.and_then(|(_, value)| std::str::from_utf8(value).ok())
    };
    let dated = || scripted("Last-Modified").and_then(|at| httpdate::parse_http_date(at).ok());
    let representation = Representation {
        etag: scripted("ETag"),
        last_modified: last_modified.or_else(dated),
        len: body.len(),
    };
    let reads = matches!(request.method.as_str(), "GET" | "HEAD") && reply.status == 200;
    if reads && reply.conditional && representation.is_not_modified(&request.headers) {
        Selected::NotModified
    } else if reads && reply.ranges && request.method == "GET" {
        representation.part(&request.headers)
    } else {
        Selected::Whole
    }
}

/// The request as JSON.
fn echo(request: &Recorded) -> Bytes {
    let told = serde_json::json!({
        "method": request.method,
        "target": request.target,
        "version": request.version,
        "headers": request.headers,
        "body": String::from_utf8_lossy(&request.body),
        "body_len": request.body_len,
    });
    Bytes::from(told.to_string())
}

fn secs_ago(seconds: u64) -> SystemTime {
    let ago = SystemTime::now().checked_sub(Duration::from_secs(seconds));
    // httpdate knows no time before the epoch.
    whole_secs(ago.unwrap_or(SystemTime::UNIX_EPOCH))
}

/// A status line; the registered phrase unless another is given.
pub(crate) fn status_line(status: u16, reason: Option<&str>) -> Vec<u8> {
    let registered = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason());
    let reason = reason.or(registered).unwrap_or_default();
    format!("HTTP/1.1 {status} {reason}\r\n").into_bytes()
}

/// Appends one field line.
pub(crate) fn push(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

fn push_length(head: &mut Vec<u8>, length: u64) {
    push(head, "Content-Length", length.to_string().as_bytes());
}
