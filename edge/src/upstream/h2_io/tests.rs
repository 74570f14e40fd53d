//! Requests over connections whose writes are counted, to an h2 server at the other end of a pipe.

use super::*;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

const BOUND: Duration = Duration::from_secs(30);

/// One end of a pipe.
struct Counting {
    pipe: DuplexStream,
    writes: Arc<AtomicUsize>,
    broken: Arc<AtomicBool>,
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(cx, into)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.broken.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let written = Pin::new(&mut self.pipe).poll_write(cx, bytes);
        if written.is_ready() {
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

/// What the server has seen.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// A request's whole body, of so many bytes.
    Body(usize),
    /// A request was given up, for this reason.
    Reset(h2::Reason),
    /// The connection has ended in good order.
    End,
}

struct Link {
    sender: SendRequest<Full<Bytes>>,
    writes: Arc<AtomicUsize>,
    broken: Arc<AtomicBool>,
    seen: mpsc::UnboundedReceiver<Seen>,
    /// Ends the server with its end of the pipe.
    server: tokio::task::JoinHandle<()>,
}

impl Link {
    /// A connection over a pipe that holds so many bytes. Requests to `/silent` are not answered, the others are when
    /// their bodies have come.
    async fn of(pipe: usize) -> Self {
        let (pipe, other) = tokio::io::duplex(pipe);
        let (writes, broken) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let stream = Counting { pipe, writes: Arc::clone(&writes), broken: Arc::clone(&broken) };
        let (say, seen) = mpsc::unbounded_channel();
        let server = tokio::spawn(serve(other, say));
        let (stream, tasks) = gathering(stream, false, Spare::default());
        let (sender, connection) =
            Builder::new(tasks).handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Self { sender, writes, broken, seen, server }
    }

    fn send(
        &self,
        path: &str,
        body: Vec<u8>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        let mut sender = self.sender.clone();
        let request = Request::post(format!("http://h{path}")).body(Full::from(body)).unwrap();
        async move { sender.send_request(request).await }
    }

    /// One that is answered: the connection has its settings.
    async fn begun(pipe: usize) -> Self {
        let mut link = Self::of(pipe).await;
        let response = within(link.send("/a", vec![1])).await.unwrap();
        within(response.into_body().collect()).await.unwrap();
        assert_eq!(link.saw().await, Seen::Body(1));
        // What the settings have it send is sent.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        link
    }

    async fn saw(&mut self) -> Seen {
        within(self.seen.recv()).await.unwrap()
    }

    fn writes(&self) -> usize {
        self.writes.swap(0, Ordering::Relaxed)
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(BOUND, future).await.unwrap()
}

async fn serve(pipe: DuplexStream, say: mpsc::UnboundedSender<Seen>) {
    let mut connection = h2::server::handshake(pipe).await.unwrap();
    loop {
        let (request, mut respond) = match connection.accept().await {
            Some(Ok(accepted)) => accepted,
            Some(Err(_)) => return,
            None => break,
        };
        let say = say.clone();
        tokio::spawn(async move {
            let silent = request.uri().path() == "/silent";
            let mut body = request.into_body();
            let mut bytes = 0;
            loop {
                match body.data().await {
                    Some(Ok(data)) => {
                        bytes += data.len();
                        body.flow_control().release_capacity(data.len()).unwrap();
                    }
                    Some(Err(error)) => {
                        return say.send(Seen::Reset(error.reason().unwrap())).unwrap();
                    }
                    None => break,
                }
            }
            say.send(Seen::Body(bytes)).unwrap();
            if silent {
                let reset = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
                return reset.map(|reason| say.send(Seen::Reset(reason)).unwrap()).unwrap();
            }
            respond.send_response(Response::new(()), true).unwrap();
        });
    }
    say.send(Seen::End).unwrap();
}

#[tokio::test]
async fn requests_that_come_at_once_are_one_write() {
    let mut link = Link::begun(1 << 20).await;
    link.writes();
    let many: Vec<_> = (0..20).map(|_| tokio::spawn(link.send("/silent", vec![7; 1000]))).collect();
    for _ in 0..20 {
        assert_eq!(link.saw().await, Seen::Body(1000));
    }
    let writes = link.writes();
    // Besides, the server's windows may have it send an acknowledgement.
    assert!((1..=3).contains(&writes), "{writes} writes");
    many.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_lone_request_is_sent_at_once() {
    let mut link = Link::begun(1 << 20).await;
    link.writes();
    let lone = tokio::spawn(link.send("/silent", vec![7; 1000]));
    assert_eq!(link.saw().await, Seen::Body(1000));
    assert!(link.writes() <= 2, "its head and its body");
    lone.abort();
}

#[tokio::test]
async fn uploads_pass_whole_through_a_narrow_pipe_and_narrow_windows() {
    let mut link = Link::begun(3000).await;
    let many: Vec<_> = (0..5).map(|_| tokio::spawn(link.send("/a", vec![7; 1 << 20]))).collect();
    for _ in 0..5 {
        assert_eq!(link.saw().await, Seen::Body(1 << 20));
    }
    for sent in many {
        assert_eq!(within(sent).await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_request_that_is_given_up_is_reset() {
    let mut link = Link::begun(1 << 20).await;
    let given_up = tokio::spawn(link.send("/silent", vec![7; 1000]));
    assert_eq!(link.saw().await, Seen::Body(1000));
    given_up.abort();
    assert_eq!(link.saw().await, Seen::Reset(h2::Reason::CANCEL));
    assert_eq!(within(link.send("/a", vec![1])).await.unwrap().status(), 200, "it goes on");
}

#[tokio::test]
async fn a_connection_that_nobody_uses_any_more_ends_in_good_order() {
    let link = Link::begun(1 << 20).await;
    let Link { sender, mut seen, .. } = link;
    drop(sender);
    assert_eq!(within(seen.recv()).await, Some(Seen::End));
}

#[tokio::test]
async fn whoever_waits_is_told_of_the_end_of_the_connection() {
    let mut link = Link::begun(1 << 20).await;
    let waiting = tokio::spawn(link.send("/silent", vec![7; 1000]));
    assert_eq!(link.saw().await, Seen::Body(1000));
    link.server.abort();
    // The streams have the other end too.
    assert!(within(waiting).await.unwrap().is_err());
    within(async {
        while !link.sender.is_closed() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_waits_is_told_that_nothing_can_be_sent() {
    let mut link = Link::begun(1 << 20).await;
    let waiting = tokio::spawn(link.send("/silent", vec![7; 1000]));
    assert_eq!(link.saw().await, Seen::Body(1000));
    link.broken.store(true, Ordering::Relaxed);
    let late = within(link.send("/a", vec![1])).await;
    assert!(late.is_err());
    let error = within(waiting).await.unwrap().unwrap_err();
    let told = crate::upstream::error::exchange_error(&error);
    assert!(matches!(told, crate::error::UpstreamError::Reset(_)), "{told:?}");
    within(async {
        while !link.sender.is_closed() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
