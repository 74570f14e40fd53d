//! What hyper gets in place of a request whose connection rested while it waited for its answer.
//!
//! hyper answers a request that it has read. One that rested has forgotten the request, so it reads another head of
//! which all that bears on the form of an answer is the same: HEAD or not, the version, and the headers Connection
//! (whether the connection stays open) and TE (whether trailers are sent). The answer to it is there already.

use http::{HeaderMap, Method, header};

/// See the module.
#[derive(Debug)]
pub(super) struct StandIn {
    method: &'static str,
    /// The lines of these headers, as they were sent.
    lines: Vec<u8>,
}

impl StandIn {
    /// The stand-in for a request without a body; `None` if it is neither GET nor HEAD.
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Option<Self> {
        let method = match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            _ => return None,
        };
        let mut lines = Vec::new();
        for name in [header::CONNECTION, header::TE] {
            for value in headers.get_all(&name) {
                let line = [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"];
                lines.extend_from_slice(&line.concat());
            }
        }
        Some(Self { method, lines })
    }

    /// Its head.
    pub(super) fn head(&self, http10: bool) -> Vec<u8> {
        let minor = if http10 { '0' } else { '1' };
        let line = format!("{} / HTTP/1.{minor}\r\nhost: rested\r\n", self.method);
        [line.as_bytes(), &self.lines, b"\r\n"].concat()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn it_has_what_bears_on_the_form_of_an_answer() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1"));
        headers.append(header::CONNECTION, HeaderValue::from_static("te"));
        headers.append(header::CONNECTION, HeaderValue::from_static("close"));
        headers.append(header::TE, HeaderValue::from_static("trailers"));
        let head = StandIn::of(&Method::HEAD, &headers).unwrap().head(false);
        let expected = "HEAD / HTTP/1.1\r\nhost: rested\r\nconnection: te\r\n\
                        connection: close\r\nte: trailers\r\n\r\n";
        assert_eq!(String::from_utf8(head).unwrap(), expected);
        let head = StandIn::of(&Method::GET, &HeaderMap::new()).unwrap().head(true);
        assert_eq!(head, b"GET / HTTP/1.0\r\nhost: rested\r\n\r\n");
        assert!(StandIn::of(&Method::POST, &headers).is_none());
    }
}
