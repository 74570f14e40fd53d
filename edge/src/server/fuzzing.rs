//! What the fuzz targets call: the guard, on bytes that nobody vetted.

use super::guard::{Guard, Verdict};
use super::head::Bounds;
use crate::host::Authority;
use http::Request;

/// Runs the guard over `input` in one piece and in pieces of `piece` bytes, and panics if what it
/// clears or says differs, or if it clears what it was not given.
pub fn guard(input: &[u8], piece: usize) {
    let whole = run(input, input.len().max(1));
    let pieces = run(input, piece.max(1));
    assert_eq!(whole, pieces, "the verdict depends on how the bytes were split");
    assert!(whole.0.len() <= 3 * input.len(), "more bytes cleared than given");
}

/// Reads `text` as an authority, and panics if its canonical form is not one, or has another.
pub fn authority(text: &[u8]) {
    let Some(authority) = Authority::parse(text) else { return };
    let canonical = authority.canonical(80);
    let again = Authority::parse(canonical.as_bytes());
    let again = again.map(|authority| authority.canonical(80).into_owned());
    assert_eq!(again.as_deref(), Some(&*canonical), "not canonical");
}

/// Reads bytes as a whole header of the PROXY protocol.
pub fn proxy_header(header: &[u8]) {
    if let Ok(introduced) = super::introduced::introduction(header) {
        let is_whole = header.starts_with(b"PROXY ") || header.starts_with(b"\r\n\r\n\0\r\nQUIT\n");
        assert!(is_whole, "{introduced:?} of something else");
    }
}

/// Tells the frames of an HTTP/3 stream apart, in one piece and in pieces of `piece` bytes, and panics if what comes
/// of them differs; then reads which pseudo-header fields each field section has.
#[cfg(feature = "http3")]
pub fn http3(input: &[u8], piece: usize) {
    use super::http3::{fields, frames};
    let read = |piece: usize| {
        let mut frames = frames::Frames::new(frames::Place::Request, 256);
        let (mut data, mut sections) = (Vec::new(), Vec::new());
        for mut bytes in input.chunks(piece.max(1)) {
            loop {
                match frames.next(&mut bytes) {
                    Ok(Some(frames::Frame::Data(bytes))) => data.extend_from_slice(&bytes),
                    Ok(Some(frames::Frame::Whole(frame))) => {
                        sections.push(frame.payload().to_vec())
                    }
                    Ok(None) => break,
                    Err(fault) => return (data, sections, Some(fault)),
                }
            }
        }
        (data, sections, None)
    };
    let whole = read(input.len());
    assert_eq!(whole, read(piece), "frames depend on how the bytes were split");
    for section in &whole.1 {
        let is_request = fields::check(section).is_ok();
        assert!(is_request || fields::has_pseudo(section), "refused for a field that is not there");
    }
}

/// Understands a request for `target` with one Host field, whatever they are.
pub fn intake(target: &[u8], host: &[u8]) {
    let request = Request::builder().uri(target).header("host", host).body(());
    let arrival = super::Arrival { connection: None, node: "fuzzed", body_bytes: 1024 };
    if let Ok(request) = request
        && let Ok(intake) = super::intake(&request, &arrival)
    {
        assert!(!intake.host.is_empty(), "a request without a host");
        assert!(intake.path.starts_with('/') || intake.path == "*", "a path that is none");
    }
}

/// The bytes cleared, heads cleared, and the first verdict that ended it.
pub(super) type Run = (Vec<u8>, u64, Option<Verdict>);

/// Gives `input` to a guard in pieces, as the wire does. After a request that asks for an upgrade
/// it goes on with HTTP/1.
pub(super) fn run(input: &[u8], piece: usize) -> Run {
    let mut guard = Guard::new(Bounds {
        header_bytes: 512,
        header_fields: 8,
        target_bytes: 64,
        body_bytes: 1024,
    });
    let (mut cleared, mut waiting) = (Vec::new(), Vec::new());
    for piece in input.chunks(piece.max(1)) {
        waiting.extend_from_slice(piece);
        loop {
            let (more, verdict) = guard.judge(&waiting);
            cleared.extend(waiting.drain(..more));
            match verdict {
                Verdict::Sound => break,
                Verdict::Held => guard.resume(),
                Verdict::Respelled { at, line, instead } => {
                    drop(waiting.splice(at..at + line, instead));
                }
                refused => return (cleared, guard.heads(), Some(refused)),
            }
        }
    }
    (cleared, guard.heads(), None)
}
