//! A server with a small handler, and clients that write bytes. Every wait has a bound, and is for
//! something to be seen, not for time to pass.
#![allow(clippy::unwrap_used)]

use super::super::{Arrival, Connection, Handler, Received, Server, Settings, Sockets, intake};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Semaphore;
use weir_config::{Config, Limits, Tls};

/// No wait of a test is longer.
pub(super) const BOUND: Duration = Duration::from_secs(10);

pub(super) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Answers in words. Paths with a meaning: `/echo`, `/hints`, `/held`, `/trailers`, `/switch`, `/short`,
/// `/endless`, `/unread`.
pub(super) struct Words {
    /// `/held` and `/trailers` wait for a permit of it.
    release: Arc<Semaphore>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Handler for Words {
    type Body = Body;

    async fn handle(
        self: Rc<Self>,
        connection: Rc<Connection>,
        request: Request<Received>,
    ) -> Response<Body> {
        if let Some(error) = connection.defect() {
            return answer(error.status, error.word);
        }
        let arrival = Arrival { connection: Some(&connection), node: "words", body_bytes: 100_000 };
        let (host, path) = match intake(&request, &arrival) {
            Ok(intake) => (intake.host.clone().into_owned(), intake.path.to_owned()),
            Err(error) => {
                if error.closes {
                    connection.close_after();
                }
                return answer(error.status, error.word);
            }
        };
        self.seen.lock().unwrap().push(path.clone());
        match path.as_str() {
            "/echo" => match connection.upload(request.into_body()).collect().await {
                Ok(body) => answer(StatusCode::OK, &format!("{} bytes", body.to_bytes().len())),
                Err(error) => answer(error.status, error.word),
            },
            "/hints" => {
                let mut links = HeaderMap::new();
                links.insert("link", HeaderValue::from_static("</a.css>; rel=preload"));
                let sent = connection.interim(StatusCode::EARLY_HINTS, &links);
                answer(StatusCode::OK, if sent { "hinted" } else { "dropped" })
            }
            "/trailers" => {
                connection.may_rest(request.method(), request.headers());
                self.release.acquire().await.unwrap().forget();
                let trailers = HeaderMap::from_iter([(
                    header::HeaderName::from_static("checksum"),
                    HeaderValue::from_static("7"),
                )]);
                // Of unknown length, so that it is chunked.
                let body = pieces(1, false).with_trailers(std::future::ready(Some(Ok(trailers))));
                let mut response = Response::new(body.boxed_unsync());
                response.headers_mut().insert("trailer", HeaderValue::from_static("checksum"));
                response
            }
            "/held" => {
                connection.may_rest(request.method(), request.headers());
                self.release.acquire().await.unwrap().forget();
                answer(StatusCode::OK, "released")
            }
            "/switch" => {
                let upgrade = connection.upgrade();
                tokio::task::spawn_local(async move {
                    if let Some(mut both) = upgrade.await {
                        let (mut from, mut to) = tokio::io::split(&mut both);
                        let _ = tokio::io::copy(&mut from, &mut to).await;
                    }
                });
                let mut response = answer(StatusCode::SWITCHING_PROTOCOLS, "");
                response.headers_mut().insert("connection", HeaderValue::from_static("upgrade"));
                response.headers_mut().insert("upgrade", HeaderValue::from_static("echo"));
                response
            }
            "/short" => Response::new(pieces(2, true)),
            "/endless" => Response::new(pieces(usize::MAX, false)),
            _ => answer(StatusCode::OK, &format!("{host} {path}")),
        }
    }
}

fn answer(status: StatusCode, body: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_owned())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
}

/// Pieces of 16 KiB, and then an error or the end.
fn pieces(left: usize, fails: bool) -> Body {
    Pieces { left, fails }.boxed_unsync()
}

struct Pieces {
    left: usize,
    fails: bool,
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 16 * 1024]))))
            }
            None => self.fails.then(|| Err(std::io::Error::other("broke off"))),
        })
    }
}

/// Limits of tests: short waits, small sizes.
pub(super) fn limits() -> Limits {
    let defaults = Config::for_origin("http://127.0.0.1:9").expect("a configuration").limits;
    Limits {
        connections: 100,
        header_bytes: 4096,
        header_fields: 50,
        target_bytes: 1024,
        body_bytes: 100_000,
        idle: BOUND,
        header_timeout: BOUND,
        slow_client: BOUND,
        h2_streams: 16,
        ..defaults
    }
}

/// A running server and what its handlers saw.
pub(super) struct RunningServer {
    pub(super) server: Server,
    pub(super) release: Arc<Semaphore>,
    seen: Arc<Mutex<Vec<String>>>,
}

pub(super) fn start(limits: Limits) -> RunningServer {
    start_with(2, limits, None)
}

pub(super) fn start_with(workers: usize, limits: Limits, tls: Option<Tls>) -> RunningServer {
    let server = held(workers, limits, tls, Sockets::default());
    server.server.serve();
    server
}

/// One on these sockets, that accepts nobody yet.
pub(super) fn held(
    workers: usize,
    limits: Limits,
    tls: Option<Tls>,
    sockets: Sockets,
) -> RunningServer {
    let release = Arc::new(Semaphore::new(0));
    let seen = Arc::default();
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let trusted_proxies = Vec::new();
    let memory = crate::memory::MemoryAccount::new(1 << 30);
    let name = "edge".into();
    let settings = Settings {
        name,
        listen,
        workers,
        limits,
        trusted_proxies,
        proxy_protocol: Vec::new(),
        memory,
        tls,
        served: Arc::default(),
    };
    let (to_release, to_see) = (Arc::clone(&release), Arc::clone(&seen));
    let make =
        move |_| Rc::new(Words { release: Arc::clone(&to_release), seen: Arc::clone(&to_see) });
    let server = Server::prepare(settings, sockets, make).unwrap();
    RunningServer { server, release, seen }
}

impl RunningServer {
    pub(super) fn connect(&self) -> Client {
        Client::to(self.server.listen())
    }

    /// Everything a connection answers to `bytes`, up to its end.
    pub(super) fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut client = self.connect();
        client.send(bytes);
        client.rest()
    }

    /// Paths of the requests that reached the handler.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until the handler has seen `path`.
    pub(super) fn until_seen(&self, path: &str) {
        until(|| self.seen().iter().any(|seen| seen == path));
    }
}

/// Waits until `holds`, giving way to the others meanwhile.
pub(super) fn until(holds: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < BOUND, "did not come about in time");
        std::thread::yield_now();
    }
}

/// A client that speaks in bytes.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub(super) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        stream.set_write_timeout(Some(BOUND)).unwrap();
        Self { stream, read: Vec::new() }
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// What comes up to and with `end`.
    pub(super) fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = memchr::memmem::find(&self.read, end.as_bytes()) {
                let rest = self.read.split_off(at + end.len());
                let found = std::mem::replace(&mut self.read, rest);
                return String::from_utf8(found).unwrap();
            }
            let mut piece = [0; 4096];
            let count = self.stream.read(&mut piece).unwrap();
            assert!(count > 0, "it ended before {end:?}: {}", self.read.escape_ascii());
            self.read.extend_from_slice(&piece[..count]);
        }
    }

    /// What comes up to the end of the connection; that it was not reset.
    pub(super) fn rest(mut self) -> String {
        let mut read = std::mem::take(&mut self.read);
        if let Err(error) = self.stream.read_to_end(&mut read) {
            panic!("{error} after {}", read.escape_ascii());
        }
        String::from_utf8(read).unwrap()
    }
}
