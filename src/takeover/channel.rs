//! Lines and descriptors over a Unix socket.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::time::timeout;
use weir_protocol::takeover::{LONGEST_LINE, MOST_FILES, Misread, read, write};

/// Bytes read at once.
const READ: usize = 4 << 10;

/// A connection between two processes of one user.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    /// What was read and is no line yet.
    unread: Vec<u8>,
    /// Descriptors that came and were not taken.
    files: Vec<OwnedFd>,
}

/// Why there is no further line.
#[derive(Debug)]
pub(super) enum Broken {
    /// The other process closed the connection, or ended.
    Closed,
    /// It said nothing for so long.
    Silent(Duration),
    /// The system's reason.
    Io(io::Error),
    /// What came is no line.
    Misread(Misread),
    /// What came is longer than a line, or has more descriptors than one may.
    TooMuch,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the other process ended"),
            Self::Silent(bound) => {
                write!(f, "the other process did not answer within {} s", bound.as_secs())
            }
            Self::Io(error) => write!(f, "the connection to the other process broke: {error}"),
            Self::Misread(misread) => misread.fmt(f),
            Self::TooMuch => f.write_str("the other process sent more than a line may have"),
        }
    }
}

impl Channel {
    /// Over a connection; see [`Channel::is_of_same_user`] before anything is believed.
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, unread: Vec::new(), files: Vec::new() }
    }

    /// Whether the process at the other end has this process's user id, or root's.
    ///
    /// # Errors
    /// The system does not say.
    pub(super) fn is_of_same_user(&self) -> io::Result<bool> {
        let peer = self.stream.peer_cred()?.uid();
        Ok(may_take_over(peer, rustix::process::geteuid().as_raw()))
    }

    /// The process at the other end; `None` if it is in another PID namespace.
    pub(super) fn peer(&self) -> Option<i32> {
        self.stream.peer_cred().ok()?.pid().filter(|pid| *pid > 0)
    }

    /// Sends a line.
    pub(super) async fn send(&mut self, line: &impl Serialize) -> Result<(), Broken> {
        self.send_with(line, &[]).await
    }

    /// Sends a line, and descriptors with it.
    pub(super) async fn send_with(
        &mut self,
        line: &impl Serialize,
        files: &[BorrowedFd<'_>],
    ) -> Result<(), Broken> {
        let mut out = Vec::new();
        write(&mut out, line).map_err(|error| Broken::Io(error.into()))?;
        let sent = self.stream.async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
            let mut with = SendAncillaryBuffer::new(&mut space);
            if !files.is_empty() && !with.push(SendAncillaryMessage::ScmRights(files)) {
                return Err(io::Error::from(io::ErrorKind::InvalidInput));
            }
            let out = [IoSlice::new(&out)];
            Ok(sendmsg(&self.stream, &out, &mut with, SendFlags::NOSIGNAL)?)
        });
        let sent = sent.await.map_err(Broken::Io)?;
        self.send_bytes(&out[sent..]).await
    }

    /// Sends bytes that a line announced.
    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.stream.write_all(bytes).await.map_err(Broken::Io)
    }

    /// The next line, within `bound`.
    pub(super) async fn next<T: DeserializeOwned>(&mut self, bound: Duration) -> Result<T, Broken> {
        timeout(bound, self.line()).await.unwrap_or(Err(Broken::Silent(bound)))
    }

    /// So many bytes that a line announced, within `bound`.
    pub(super) async fn next_bytes(
        &mut self,
        count: usize,
        bound: Duration,
    ) -> Result<Vec<u8>, Broken> {
        let mut bytes: Vec<u8> = self.unread.drain(..self.unread.len().min(count)).collect();
        let read = async {
            let already = bytes.len();
            // As they come, not all at once: the other side's word is not enough to reserve them.
            let mut rest = (&mut self.stream).take((count - already) as u64);
            rest.read_to_end(&mut bytes).await.map_err(Broken::Io)?;
            if bytes.len() < count { Err(Broken::Closed) } else { Ok(()) }
        };
        timeout(bound, read).await.unwrap_or(Err(Broken::Silent(bound)))?;
        Ok(bytes)
    }

    /// Says that nothing more is said.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Until the other process has closed the connection, whatever it says.
    pub(super) async fn until_closed(&mut self) {
        while self.read().await.is_ok_and(|read| read > 0) {
            self.unread.clear();
            self.files.clear();
        }
    }

    /// The descriptors that came with the lines so far.
    pub(super) fn take_files(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.files)
    }

    /// The connection, from behind the last line on.
    pub(super) fn into_transport(self) -> impl AsyncRead + AsyncWrite + Send + Unpin {
        let (reading, writing) = self.stream.into_split();
        tokio::io::join(io::Cursor::new(self.unread).chain(reading), writing)
    }

    async fn line<T: DeserializeOwned>(&mut self) -> Result<T, Broken> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return read(&line[..end]).map_err(Broken::Misread);
            }
            if self.unread.len() > LONGEST_LINE {
                return Err(Broken::TooMuch);
            }
            if self.read().await? == 0 {
                return Err(Broken::Closed);
            }
        }
    }

    /// Reads what is there, with the descriptors that come with it.
    async fn read(&mut self) -> Result<usize, Broken> {
        let (stream, unread, files) = (&self.stream, &mut self.unread, &mut self.files);
        let read = stream.async_io(Interest::READABLE, || {
            let mut bytes = [0; READ];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
            let mut with = RecvAncillaryBuffer::new(&mut space);
            let mut into = [IoSliceMut::new(&mut bytes)];
            let message = recvmsg(stream, &mut into, &mut with, RecvFlags::CMSG_CLOEXEC)?;
            for rights in with.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = rights {
                    files.extend(rights);
                }
            }
            let cut = message.flags.contains(ReturnFlags::CTRUNC);
            unread.extend_from_slice(&bytes[..message.bytes]);
            Ok((message.bytes, cut))
        });
        let (read, cut) = read.await.map_err(Broken::Io)?;
        if cut || self.files.len() > MOST_FILES { Err(Broken::TooMuch) } else { Ok(read) }
    }
}

/// Whether a process of the user `peer` may take over from one of the user `own`.
fn may_take_over(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use weir_protocol::takeover::{FromNew, FromOld};

    const BOUND: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn lines_descriptors_and_bytes_arrive_in_order() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut a, mut b) = (Channel::new(a), Channel::new(b));
        let log = vec![b'\n'; 1 << 20];
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let sends = async {
            let bytes = log.len() as u64;
            a.send_with(&FromOld::Go, &[listener.as_fd()]).await.unwrap();
            a.send(&FromOld::Log { bytes }).await.unwrap();
            a.send_bytes(&log).await.unwrap();
            a.send(&FromOld::Draining).await.unwrap();
        };
        let takes = async {
            assert_eq!(b.next::<FromOld>(BOUND).await.unwrap(), FromOld::Go);
            let files = b.take_files();
            let [file]: [OwnedFd; 1] = files.try_into().unwrap();
            let same = std::net::TcpListener::from(file);
            assert_eq!(same.local_addr().unwrap(), listener.local_addr().unwrap());
            let FromOld::Log { bytes } = b.next(BOUND).await.unwrap() else { panic!() };
            assert_eq!(b.next_bytes(bytes as usize, BOUND).await.unwrap(), log);
            assert_eq!(b.next::<FromOld>(BOUND).await.unwrap(), FromOld::Draining);
        };
        tokio::join!(sends, takes);
        drop(a);
        assert!(matches!(b.next::<FromOld>(BOUND).await, Err(Broken::Closed)));
    }

    #[tokio::test]
    async fn what_is_no_line_ends_the_connection() {
        for (bytes, reason) in [
            (b"{}\n".to_vec(), "malformed"),
            (vec![b'x'; 2 * LONGEST_LINE], "more than a line may have"),
            (b"{\"takeover\":9,\"say\":\"prepared\"}\n".to_vec(), "version 9"),
        ] {
            let (a, b) = UnixStream::pair().unwrap();
            let (mut a, mut b) = (Channel::new(a), Channel::new(b));
            let sends = async { a.send_bytes(&bytes).await };
            let (_, came) = tokio::join!(sends, async {
                let came = b.next::<FromNew>(BOUND).await;
                drop(b);
                came
            });
            let broken = came.unwrap_err().to_string();
            assert!(broken.contains(reason), "{broken}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_bounded() {
        let (_a, b) = UnixStream::pair().unwrap();
        let mut b = Channel::new(b);
        assert!(matches!(b.next::<FromOld>(BOUND).await, Err(Broken::Silent(BOUND))));
    }

    #[test]
    fn only_the_same_user_and_root_may_take_over() {
        assert!(may_take_over(1000, 1000) && may_take_over(0, 1000));
        assert!(!may_take_over(1001, 1000) && !may_take_over(1000, 0));
    }

    #[tokio::test]
    async fn the_user_of_the_other_process_is_known() {
        let (a, _b) = UnixStream::pair().unwrap();
        assert!(Channel::new(a).is_of_same_user().unwrap());
    }
}
