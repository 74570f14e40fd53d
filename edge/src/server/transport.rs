//! The socket of a connection, in the clear or under TLS.

use crate::outbox::{Outbox, is_stand_in};
use rustix::net::SendFlags;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// See the module.
pub(super) enum Transport {
    /// In the clear.
    Tcp(TcpStream),
    /// Under TLS.
    Tls(Box<TlsStream<TcpStream>>),
    /// None: QUIC has its own.
    #[cfg(feature = "http3")]
    Quic,
}

/// Nothing is read or written here over QUIC.
#[cfg(feature = "http3")]
fn of_quic() -> io::Error {
    io::ErrorKind::Unsupported.into()
}

/// Writes what something follows at once: the kernel waits for that before it sends a small packet.
fn poll_write_begun(
    tcp: &TcpStream,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    loop {
        std::task::ready!(tcp.poll_write_ready(cx))?;
        let send = || Ok(rustix::net::send(tcp, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?);
        match tcp.try_io(Interest::WRITABLE, send) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            written => return Poll::Ready(written),
        }
    }
}

impl Transport {
    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(tcp) => Some(tcp),
            Self::Tls(tls) => Some(tls.get_ref().0),
            #[cfg(feature = "http3")]
            Self::Quic => None,
        }
    }

    /// Has the connection reset when it is closed.
    pub(super) fn reset_at_close(&self) {
        if let Some(tcp) = self.tcp() {
            let _ = tcp.set_zero_linger();
        }
    }

    /// How many bytes were read into `into`; 0 is the end of input.
    #[inline]
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        let result = match self {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, &mut buffer),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, &mut buffer),
            #[cfg(feature = "http3")]
            Self::Quic => Poll::Ready(Err(of_quic())),
        };
        result.map_ok(|()| buffer.filled().len())
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    #[inline]
    pub(super) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(tcp) => match bufs {
                // send(2) costs less than writev(2).
                [one] => Pin::new(tcp).poll_write(cx, one),
                _ => Pin::new(tcp).poll_write_vectored(cx, bufs),
            },
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(cx, bufs),
            #[cfg(feature = "http3")]
            Self::Quic => Poll::Ready(Err(of_quic())),
        }
    }

    /// The same with bytes of a body that the kernel sends: what its stand-in is among `bufs` for.
    pub(super) fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        outbox: &Outbox,
    ) -> Poll<io::Result<usize>> {
        let Some(at) = bufs.iter().position(|buf| is_stand_in(buf)) else {
            return self.poll_write_vectored(cx, bufs);
        };
        let Self::Tcp(tcp) = self else {
            return Poll::Ready(Err(io::Error::other("what is encrypted passes through here")));
        };
        let mut written = 0;
        for buf in &bufs[..at] {
            match poll_write_begun(tcp, cx, buf) {
                Poll::Ready(Ok(some)) if some == buf.len() => written += some,
                Poll::Ready(Ok(some)) => return Poll::Ready(Ok(written + some)),
                _ if written > 0 => return Poll::Ready(Ok(written)),
                other => return other,
            }
        }
        match outbox.poll_send(cx, tcp, &bufs[at]) {
            Poll::Ready(Ok(sent)) => Poll::Ready(Ok(written + sent)),
            // Whatever it is, it comes again.
            _ if written > 0 => Poll::Ready(Ok(written)),
            other => other,
        }
    }

    #[inline]
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            // The kernel takes it from here.
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
            #[cfg(feature = "http3")]
            Self::Quic => Poll::Ready(Ok(())),
        }
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
            #[cfg(feature = "http3")]
            Self::Quic => Poll::Ready(Ok(())),
        }
    }

    /// Writes what can be written without waiting. Only for moments in which nobody waits to
    /// write: with TLS, a waiting writer would lose its wake-up.
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_write(bytes),
            Self::Tls(tls) => {
                let mut cx = Context::from_waker(Waker::noop());
                let mut tls = Pin::new(&mut **tls);
                let written = match tls.as_mut().poll_write(&mut cx, bytes) {
                    Poll::Ready(result) => result?,
                    Poll::Pending => 0,
                };
                // What stays behind goes out with the next write.
                let _ = tls.poll_flush(&mut cx);
                Ok(written)
            }
            #[cfg(feature = "http3")]
            Self::Quic => Err(of_quic()),
        }
    }

    /// Whether the client reset the connection, which nobody who waits for something else sees.
    pub(super) fn is_reset(&self) -> bool {
        self.tcp().is_some_and(|tcp| !matches!(tcp.take_error(), Ok(None)))
    }

    /// Whether the client has closed its side and nothing of what it sent is unread: mostly it is
    /// gone altogether, and only a write would tell.
    pub(super) fn is_closed_by_client(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let peeked = self.tcp().map(|tcp| socket2::SockRef::from(tcp).peek(&mut byte));
        matches!(peeked, Some(Ok(0)))
    }

    /// Ends both directions at once, and wakes whoever waits for either.
    pub(super) fn cut(&self) {
        if let Some(tcp) = self.tcp() {
            let _ = socket2::SockRef::from(tcp).shutdown(std::net::Shutdown::Both);
        }
    }
}
