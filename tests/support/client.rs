//! A client that writes bytes and shows what comes back, good or bad.

use super::answer::{Answer, Head, fields};
use super::{HOST, PATIENCE};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    /// Read, not yet used.
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self::try_connect(to).await.expect("the node accepts")
    }

    /// To who may not be there.
    pub(crate) async fn try_connect(to: SocketAddr) -> std::io::Result<Self> {
        Ok(Self { stream: TcpStream::connect(to).await?, buffer: Vec::new() })
    }

    /// From this address.
    pub(crate) async fn connect_from(from: Ipv4Addr, to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((from, 0).into()).expect("an address of this machine");
        let stream = socket.connect(to).await.expect("the node accepts");
        Self { stream, buffer: Vec::new() }
    }

    /// With the smallest receive buffer that the system gives.
    pub(crate) async fn connect_slow(to: SocketAddr) -> Self {
        Self::try_connect_slow(to).await.expect("the node accepts")
    }

    /// The same, to who may not be there.
    pub(crate) async fn try_connect_slow(to: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        Ok(Self { stream: socket.connect(to).await?, buffer: Vec::new() })
    }

    /// Sends bytes as they are. The node may have answered and closed already: that shows in the
    /// answer.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sending = self.stream.write_all(bytes.as_ref());
        let _ = timeout(PATIENCE, sending).await.expect("the node reads");
    }

    /// Sends a request. Host is [`HOST`] unless given; a body brings its Content-Length.
    pub(crate) async fn request(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) {
        let mut text = format!("{method} {target} HTTP/1.1\r\n");
        if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text.push_str(&format!("Host: {HOST}\r\n"));
        }
        for (name, value) in fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        self.send(format!("{text}\r\n{body}")).await;
    }

    /// The answer to a request of this method.
    pub(crate) async fn answer(&mut self, method: &str) -> Answer {
        let mut interims = Vec::new();
        loop {
            let head = self.head().await;
            if head.status >= 200 || head.status == 101 {
                return Answer { interims, ..self.rest(method, head).await };
            }
            interims.push(head);
        }
    }

    /// The next head, interim or not.
    pub(crate) async fn head(&mut self) -> Head {
        let head = self.next_head().await;
        head.unwrap_or_else(|| panic!("closed before an answer: {:?}", self.shown()))
    }

    /// The next head; `None` where the connection ends before it is whole.
    pub(crate) async fn next_head(&mut self) -> Option<Head> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            if !self.fill().await {
                return None;
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        Some(Head::parse(&head[..end]))
    }

    /// What follows a head.
    pub(crate) async fn rest(&mut self, method: &str, head: Head) -> Answer {
        let mut answer = Answer { whole: true, ..Answer::default() };
        let bodiless = method == "HEAD" || matches!(head.status, 101 | 204 | 304);
        let chunked = head.field("transfer-encoding").is_some_and(|coding| coding == "chunked");
        let length = head.number("content-length");
        answer.head = head;
        match length {
            _ if bodiless => {}
            _ if chunked => self.chunks(&mut answer).await,
            Some(length) => {
                let length = usize::try_from(length).expect("a length");
                (answer.body, answer.whole) = self.up_to(length).await;
            }
            None => {
                while self.fill().await {}
                answer.body = std::mem::take(&mut self.buffer);
            }
        }
        answer
    }

    async fn chunks(&mut self, answer: &mut Answer) {
        loop {
            let Some(line) = self.line().await else { break };
            let size = usize::from_str_radix(&line, 16).expect("a chunk's size");
            if size == 0 {
                let mut trailers = Vec::new();
                while let Some(line) = self.line().await {
                    if line.is_empty() {
                        answer.trailers = fields(trailers.iter().map(String::as_str));
                        return;
                    }
                    trailers.push(line);
                }
                break;
            }
            let (bytes, whole) = self.up_to(size).await;
            answer.body.extend_from_slice(&bytes);
            if !whole || self.line().await.is_none() {
                break;
            }
        }
        answer.whole = false;
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Some(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// As many bytes, or fewer where the connection ends, and whether it was as many.
    pub(crate) async fn up_to(&mut self, length: usize) -> (Vec<u8>, bool) {
        while self.buffer.len() < length && self.fill().await {}
        let length_found = self.buffer.len().min(length);
        let rest = self.buffer.split_off(length_found);
        (std::mem::replace(&mut self.buffer, rest), length_found == length)
    }

    /// Whether the node closes the connection with nothing further on it.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill().await
    }

    /// Reads some more; `false` at the end, orderly or not.
    async fn fill(&mut self) -> bool {
        self.buffer.reserve(64 * 1024);
        let reading = self.stream.read_buf(&mut self.buffer);
        let read = timeout(PATIENCE, reading).await;
        let read = read.unwrap_or_else(|_| panic!("nothing more came after {:?}", self.shown()));
        read.is_ok_and(|read| read > 0)
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.buffer[..self.buffer.len().min(500)]).into_owned()
    }
}
