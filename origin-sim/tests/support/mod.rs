//! A client that shows what is on the wire: it sends bytes as given and reads answers by their
//! own framing, or to the end.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No wait in these tests is longer.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

/// An answer: its head as text, its body.
#[derive(Debug)]
pub struct Answer {
    pub head: String,
    pub body: Vec<u8>,
    pub trailers: String,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status line")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).first().copied()
    }

    pub fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v).collect()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }
}

/// Bounds a wait.
pub async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event).await.expect("it happens soon")
}

/// One GET on a connection of its own.
pub async fn get(addr: SocketAddr, target: &str) -> Answer {
    get_with(addr, target, "").await
}

/// One GET with further field lines, each ending in CRLF.
pub async fn get_with(addr: SocketAddr, target: &str, fields: &str) -> Answer {
    request(addr, "GET", target, fields, "").await
}

pub async fn request(
    addr: SocketAddr,
    method: &str,
    target: &str,
    fields: &str,
    body: &str,
) -> Answer {
    let mut client = Client::connect(addr).await;
    let length = match body.len() {
        0 => String::new(),
        n => format!("Content-Length: {n}\r\n"),
    };
    client
        .send(&format!("{method} {target} HTTP/1.1\r\nHost: o\r\n{length}{fields}\r\n{body}"))
        .await;
    client.answer_to(method).await
}

impl Client {
    pub async fn connect(addr: SocketAddr) -> Client {
        let stream = TcpStream::connect(addr).await.expect("the origin accepts");
        Client { stream, input: Vec::new() }
    }

    pub async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("the origin reads");
    }

    pub async fn get(&mut self, target: &str) {
        self.send(&format!("GET {target} HTTP/1.1\r\nHost: o\r\n\r\n")).await;
    }

    /// Reads the next answer to a GET whole.
    pub async fn answer(&mut self) -> Answer {
        self.answer_to("GET").await
    }

    pub async fn answer_to(&mut self, method: &str) -> Answer {
        let head = self.head().await;
        let mut answer = Answer { head, body: Vec::new(), trailers: String::new() };
        let status = answer.status();
        if method == "HEAD" || status < 200 || matches!(status, 204 | 304) {
            return answer;
        }
        if answer.header("Transfer-Encoding") == Some("chunked") {
            loop {
                let line = self.through(b"\r\n").await;
                let size = usize::from_str_radix(line.trim_end(), 16).expect("a chunk size");
                if size == 0 {
                    break;
                }
                answer.body.extend(self.take(size).await);
                assert_eq!(self.take(2).await, b"\r\n", "a chunk ends as its size says");
            }
            loop {
                let line = self.through(b"\r\n").await;
                if line == "\r\n" {
                    return answer;
                }
                answer.trailers.push_str(&line);
            }
        }
        match answer.header("Content-Length").map(str::parse) {
            Some(length) => answer.body = self.take(length.expect("a length")).await,
            None => answer.body = self.read_to_end().await.expect("an orderly end"),
        }
        answer
    }

    /// Reads a head, its empty line included.
    pub async fn head(&mut self) -> String {
        self.through(b"\r\n\r\n").await
    }

    pub async fn take(&mut self, len: usize) -> Vec<u8> {
        while self.input.len() < len {
            assert_ne!(self.more().await.expect("readable"), 0, "ended within a body");
        }
        self.input.drain(..len).collect()
    }

    /// Reads to the end of the connection: what came, or the error that ended it.
    pub async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        while self.more().await? > 0 {}
        Ok(std::mem::take(&mut self.input))
    }

    /// Whether nothing has arrived so far.
    pub fn is_silent(&self) -> bool {
        let mut byte = [0];
        let nothing = self.stream.try_read(&mut byte);
        self.input.is_empty() && nothing.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
    }

    async fn through(&mut self, end: &[u8]) -> String {
        loop {
            if let Some(at) = self.input.windows(end.len()).position(|window| window == end) {
                let text = self.input.drain(..at + end.len()).collect();
                return String::from_utf8(text).expect("text");
            }
            assert_ne!(self.more().await.expect("readable"), 0, "ended in {:?}", self.input);
        }
    }

    async fn more(&mut self) -> io::Result<usize> {
        soon(self.stream.read_buf(&mut self.input)).await
    }
}
