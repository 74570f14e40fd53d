//! Connections from proxies that begin each with the PROXY protocol, version 1 or 2, and so say whose it is
//! (haproxy's `proxy-protocol.txt`). Only those of `node.proxy_protocol` do: what anybody else sends there is read as
//! the beginning of a request, which it is not.

use ppp::v2::{Addresses, Command};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What version 1 begins with.
const WORD: &[u8; 6] = b"PROXY ";

/// The longest line of version 1, its end included.
const LONGEST_LINE: usize = 107;

/// The longest header of version 2, after its fixed part: addresses, and what else a proxy may add.
const LONGEST_REST: usize = 4096;

/// From one look at a beginning that is too short to tell to the next.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Introduction {
    /// For this client.
    For(SocketAddr),
    /// For the proxy itself.
    Own,
    /// With something else, which is still to be read.
    None,
}

/// Reads the header that a connection begins with, and nothing after it.
///
/// # Errors
/// It breaks off, or is not as the protocol has it.
pub(super) async fn read(socket: &mut TcpStream) -> io::Result<Introduction> {
    if !begins(socket).await? {
        return Ok(Introduction::None);
    }
    let mut header = vec![0; SIGNATURE.len()];
    socket.read_exact(&mut header).await?;
    match header.as_slice() == SIGNATURE {
        true => read_binary(socket, &mut header).await?,
        false => read_line(socket, &mut header).await?,
    }
    introduction(&header).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
}

/// Whether a connection begins with the protocol: as much as tells is waited for, and left unread.
async fn begins(socket: &TcpStream) -> io::Result<bool> {
    let mut seen = [0; SIGNATURE.len()];
    loop {
        let count = socket.peek(&mut seen).await?;
        let seen = &seen[..count];
        let is = |whole: &[u8]| seen.starts_with(whole) || whole.starts_with(seen);
        match seen {
            [] => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ if !is(WORD) && !is(SIGNATURE) => return Ok(false),
            _ if seen.starts_with(WORD) || seen == SIGNATURE => return Ok(true),
            // The socket stays readable, so that only time tells.
            _ => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

async fn read_binary(socket: &mut TcpStream, header: &mut Vec<u8>) -> io::Result<()> {
    let mut fixed = [0; 4];
    socket.read_exact(&mut fixed).await?;
    let rest = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if rest > LONGEST_REST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the header is too long"));
    }
    header.extend_from_slice(&fixed);
    let begun = header.len();
    header.resize(begun + rest, 0);
    socket.read_exact(&mut header[begun..]).await.map(drop)
}

/// Reads to the end of the line. It is looked at before it is taken, so that nothing after it is.
async fn read_line(socket: &mut TcpStream, header: &mut Vec<u8>) -> io::Result<()> {
    while !header.contains(&b'\n') {
        let mut ahead = [0; LONGEST_LINE];
        let room = LONGEST_LINE.saturating_sub(header.len());
        if room == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the line is too long"));
        }
        let count = socket.peek(&mut ahead[..room]).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = ahead[..count].iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(count, |end| end + 1);
        socket.read_exact(&mut ahead[..taken]).await?;
        header.extend_from_slice(&ahead[..taken]);
    }
    Ok(())
}

/// Whom a whole header names.
pub(super) fn introduction(header: &[u8]) -> Result<Introduction, String> {
    if header.starts_with(SIGNATURE) {
        let read = ppp::v2::Header::try_from(header).map_err(|error| error.to_string())?;
        let named = |ip: IpAddr, port| Introduction::For(SocketAddr::new(ip.to_canonical(), port));
        return Ok(match (read.command, read.addresses) {
            (Command::Local, _) | (_, Addresses::Unspecified | Addresses::Unix(_)) => {
                Introduction::Own
            }
            (Command::Proxy, Addresses::IPv4(v4)) => {
                named(v4.source_address.into(), v4.source_port)
            }
            (Command::Proxy, Addresses::IPv6(v6)) => {
                named(v6.source_address.into(), v6.source_port)
            }
        });
    }
    let read = ppp::v1::Header::try_from(header).map_err(|error| error.to_string())?;
    let named = |ip: IpAddr, port| Introduction::For(SocketAddr::new(ip.to_canonical(), port));
    Ok(match read.addresses {
        ppp::v1::Addresses::Unknown => Introduction::Own,
        ppp::v1::Addresses::Tcp4(v4) => named(v4.source_address.into(), v4.source_port),
        ppp::v1::Addresses::Tcp6(v6) => named(v6.source_address.into(), v6.source_port),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[0x20 | command, family], &length, rest].concat()
    }

    /// 192.0.2.7:4000 to 10.0.0.1:443.
    const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x0f, 0xa0, 0x01, 0xbb];

    /// What is made of bytes that arrive in pieces, and what is left of them.
    async fn came(pieces: &[&[u8]]) -> (io::Result<Introduction>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        sender.set_nodelay(true).unwrap();
        let (mut socket, _) = listener.accept().await.unwrap();
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        let sending = async move {
            for piece in pieces {
                sender.write_all(&piece).await.unwrap();
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
            sender.shutdown().await.unwrap();
            sender
        };
        let reading = async {
            let came = read(&mut socket).await;
            let mut left = Vec::new();
            if came.is_ok() {
                socket.read_to_end(&mut left).await.unwrap();
            }
            (came, left)
        };
        let (_sender, came) = tokio::join!(sending, reading);
        came
    }

    #[tokio::test]
    async fn the_header_is_taken_and_nothing_after_it() {
        let client = Introduction::For("192.0.2.7:4000".parse().unwrap());
        let six = Introduction::For("[2001:db8::7]:4000".parse().unwrap());
        let line = b"PROXY TCP4 192.0.2.7 10.0.0.1 4000 443\r\n";
        let request = b"GET / HTTP/1.1\r\n";
        let with_more = v2(1, 0x11, &[&V4[..], &[0x04, 0, 1, 0]].concat());
        for (header, expected) in [
            (line.to_vec(), client),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 4000 443\r\n".to_vec(), six),
            (b"PROXY UNKNOWN\r\n".to_vec(), Introduction::Own),
            (b"PROXY UNKNOWN a b c d\r\n".to_vec(), Introduction::Own),
            (v2(1, 0x11, &V4), client),
            (with_more, client),
            (v2(0, 0x00, &[]), Introduction::Own),
            (v2(1, 0x00, &[]), Introduction::Own),
        ] {
            let at_once = came(&[&[&header[..], request].concat()]).await;
            assert_eq!(at_once.0.unwrap(), expected, "{header:?}");
            assert_eq!(at_once.1, request);
            let cut = header.len() / 2;
            for pieces in
                [[&header[..3], &header[3..], request], [&header[..cut], &header[cut..], request]]
            {
                let (in_pieces, left) = came(&pieces).await;
                assert_eq!((in_pieces.unwrap(), left), (expected, request.to_vec()));
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_left_or_refused() {
        for other in
            [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n", b"\x16\x03\x01", b"P\r\n"]
        {
            let (came, left) = came(&[other]).await;
            assert_eq!((came.unwrap(), left), (Introduction::None, other.to_vec()));
        }
        let long = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
        let longer = [&SIGNATURE[..], &[0x21, 0x11], &5000u16.to_be_bytes(), &[0; 5000]].concat();
        for wrong in [
            &b"PROXY TCP4 192.0.2.7 10.0.0.1 4000\r\n"[..],
            b"PROXY TCP4 192.0.2.777 10.0.0.1 4000 443\r\n",
            b"PROXY TCP4 2001:db8::7 10.0.0.1 4000 443\r\n",
            b"PROXY \r\nGET / HTTP/1.1\r\n",
            b"PROXY TCP4",
            long.as_bytes(),
            &longer,
            &v2(1, 0x11, &V4[..4]),
            &v2(1, 0x11, &V4)[..20],
            &[&SIGNATURE[..], &[0x31, 0x11, 0, 12], &V4].concat(),
            b"",
        ] {
            assert!(came(&[wrong]).await.0.is_err(), "{wrong:?}");
        }
    }
}
