//! The body of a request, as the protocol that it came by has it.

#[cfg(not(feature = "http3"))]
pub(crate) type Received = hyper::body::Incoming;

#[cfg(feature = "http3")]
pub(crate) use both::Received;

/// That of a request that hyper has read.
#[inline]
pub(super) fn received(body: hyper::body::Incoming) -> Received {
    #[cfg(feature = "http3")]
    return Received::Hyper(body);
    #[cfg(not(feature = "http3"))]
    body
}

#[cfg(feature = "http3")]
mod both {
    use crate::server::http3::Http3Body;
    use bytes::Bytes;
    use http_body::{Body, Frame, SizeHint};
    use hyper::body::Incoming;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// See the module above.
    pub(crate) enum Received {
        /// HTTP/1 and HTTP/2.
        Hyper(Incoming),
        /// HTTP/3.
        Http3(Box<Http3Body>),
    }

    impl From<Http3Body> for Received {
        fn from(body: Http3Body) -> Self {
            Self::Http3(Box::new(body))
        }
    }

    impl Body for Received {
        type Data = Bytes;
        type Error = Box<dyn std::error::Error + Send + Sync>;

        #[inline]
        fn poll_frame(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            match self.get_mut() {
                Self::Hyper(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
                Self::Http3(body) => Pin::new(&mut **body).poll_frame(cx).map_err(Into::into),
            }
        }

        #[inline]
        fn is_end_stream(&self) -> bool {
            match self {
                Self::Hyper(body) => body.is_end_stream(),
                Self::Http3(body) => body.is_end_stream(),
            }
        }

        #[inline]
        fn size_hint(&self) -> SizeHint {
            match self {
                Self::Hyper(body) => body.size_hint(),
                Self::Http3(body) => body.size_hint(),
            }
        }
    }
}
