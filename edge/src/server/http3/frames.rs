//! The frames of an HTTP/3 stream (RFC 9114 §7.1), told apart as their bytes come. Nothing is kept but the
//! head of a frame and, up to a bound, frames that must be read as a whole: h3 would keep any frame as a whole,
//! whatever length it announces.

use bytes::Bytes;

/// Types of frames (RFC 9114 §7.2).
const DATA: u64 = 0x0;
const HEADERS: u64 = 0x1;
const CANCEL_PUSH: u64 = 0x3;
const SETTINGS: u64 = 0x4;
const PUSH_PROMISE: u64 = 0x5;
const GOAWAY: u64 = 0x7;
const MAX_PUSH_ID: u64 = 0xd;
/// Types that HTTP/2 has and HTTP/3 has not (RFC 9114 §7.2.8).
const OF_HTTP2: [u64; 4] = [0x2, 0x6, 0x8, 0x9];

/// Longest head of a frame: two integers.
const HEAD_BYTES: usize = 16;

/// Which stream the frames are on: each has its own types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Place {
    /// A request's.
    Request,
    /// The client's control stream.
    Control,
}

/// What is wrong with frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Fault {
    /// A frame of this type may not come here: the connection ends (RFC 9114 §7.2).
    Unexpected,
    /// A frame that is to be read as a whole is longer than the bound.
    TooLong,
}

/// A frame, or a piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) enum Frame {
    /// Bytes of a DATA frame, at least one.
    Data(Bytes),
    /// A whole frame of another type: HEADERS on a request's stream.
    Whole(Whole),
}

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) struct Whole {
    bytes: Bytes,
    head: usize,
}

impl Whole {
    /// The frame with its head.
    pub(in crate::server) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What follows the head.
    pub(in crate::server) fn payload(&self) -> &[u8] {
        &self.bytes[self.head..]
    }
}

enum State {
    /// The head, as far as it is here.
    Head,
    Data(u64),
    Whole {
        left: usize,
        head: usize,
    },
    /// A type that means nothing here (RFC 9114 §9).
    Skipped(u64),
}

/// See the module.
pub(in crate::server) struct Frames {
    place: Place,
    /// The longest payload that is read as a whole.
    most: usize,
    state: State,
    kept: Vec<u8>,
}

impl Frames {
    pub(in crate::server) fn new(place: Place, most: usize) -> Self {
        Self { place, most, state: State::Head, kept: Vec::new() }
    }

    /// Whether the stream may end here: a frame that is cut short is an error (RFC 9114 §7.1).
    pub(in crate::server) fn is_between(&self) -> bool {
        matches!(self.state, State::Head) && self.kept.is_empty()
    }

    /// Takes bytes from the front of `input` until there is something to tell; `None` when they are used up.
    pub(in crate::server) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, Fault> {
        loop {
            match &mut self.state {
                State::Head => {
                    let Some((kind, length)) = self.head(input) else { return Ok(None) };
                    self.begin(kind, length)?;
                }
                State::Data(0) | State::Skipped(0) => self.state = State::Head,
                State::Data(left) | State::Skipped(left) if !input.is_empty() => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    let (piece, rest) = input.split_at(taken);
                    *input = rest;
                    *left -= taken as u64;
                    if matches!(self.state, State::Data(_)) {
                        return Ok(Some(Frame::Data(Bytes::copy_from_slice(piece))));
                    }
                }
                State::Whole { left: 0, head } => {
                    let head = *head;
                    self.state = State::Head;
                    let bytes = Bytes::from(std::mem::take(&mut self.kept));
                    return Ok(Some(Frame::Whole(Whole { bytes, head })));
                }
                State::Whole { left, .. } if !input.is_empty() => {
                    let (piece, rest) = input.split_at((*left).min(input.len()));
                    *input = rest;
                    *left -= piece.len();
                    self.kept.extend_from_slice(piece);
                }
                State::Data(_) | State::Skipped(_) | State::Whole { .. } => return Ok(None),
            }
        }
    }

    /// The type and length of the next frame, once its head is here.
    fn head(&mut self, input: &mut &[u8]) -> Option<(u64, u64)> {
        loop {
            if let Some((kind, used)) = integer(&self.kept)
                && let Some((length, _)) = integer(&self.kept[used..])
            {
                return Some((kind, length));
            }
            debug_assert!(self.kept.len() < HEAD_BYTES);
            let (first, rest) = input.split_first()?;
            *input = rest;
            self.kept.push(*first);
        }
    }

    fn begin(&mut self, kind: u64, length: u64) -> Result<(), Fault> {
        let is_read = match (self.place, kind) {
            (Place::Request, DATA) => {
                self.kept.clear();
                self.state = State::Data(length);
                return Ok(());
            }
            (Place::Request, HEADERS) => true,
            (Place::Control, CANCEL_PUSH | SETTINGS | GOAWAY | MAX_PUSH_ID) => true,
            (_, DATA | HEADERS | CANCEL_PUSH | SETTINGS | PUSH_PROMISE | GOAWAY | MAX_PUSH_ID) => {
                return Err(Fault::Unexpected);
            }
            _ if OF_HTTP2.contains(&kind) => return Err(Fault::Unexpected),
            _ => false,
        };
        if !is_read {
            self.kept.clear();
            self.state = State::Skipped(length);
            return Ok(());
        }
        let left = usize::try_from(length).ok().filter(|length| *length <= self.most);
        let left = left.ok_or(Fault::TooLong)?;
        self.state = State::Whole { left, head: self.kept.len() };
        Ok(())
    }
}

/// An integer of QUIC (RFC 9000 §16) at the beginning of `bytes`, and how many bytes it has; `None` if there are
/// too few.
pub(in crate::server) fn integer(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = 1usize << (first >> 6);
    let rest = bytes.get(1..length)?;
    let value =
        rest.iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte));
    Some((value, length))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(out: &mut Vec<u8>, value: u64) {
        match value {
            0..0x40 => out.push(value as u8),
            0x40..0x4000 => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
            0x4000..0x4000_0000 => {
                out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes())
            }
            _ => out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
        }
    }

    fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, kind);
        put(&mut out, payload.len() as u64);
        out.extend_from_slice(payload);
        out
    }

    /// DATA joined, the payloads of other frames, and whether the stream may end there.
    type Read = (Vec<u8>, Vec<Vec<u8>>, bool);

    fn read(place: Place, bytes: &[u8], step: usize) -> Result<Read, Fault> {
        let mut frames = Frames::new(place, 1000);
        let (mut data, mut whole) = (Vec::new(), Vec::new());
        for mut piece in bytes.chunks(step) {
            while let Some(frame) = frames.next(&mut piece)? {
                match frame {
                    Frame::Data(bytes) => data.extend_from_slice(&bytes),
                    Frame::Whole(frame) => whole.push(frame.payload().to_vec()),
                }
            }
        }
        Ok((data, whole, frames.is_between()))
    }

    proptest! {
        #[test]
        fn frames_are_read_however_their_bytes_come(
            data in proptest::collection::vec(any::<u8>(), 0..300),
            block in proptest::collection::vec(any::<u8>(), 0..300),
            step in 1usize..50,
        ) {
            let mut bytes = frame(HEADERS, &block);
            bytes.extend(frame(0x21, &data));
            bytes.extend(frame(DATA, &data));
            bytes.extend(frame(DATA, b""));
            bytes.extend(frame(DATA, b"more"));
            bytes.extend(frame(HEADERS, b""));
            let (read, whole, ended) = read(Place::Request, &bytes, step).unwrap();
            prop_assert_eq!(read, [&data[..], b"more"].concat());
            prop_assert_eq!(whole, vec![block, Vec::new()]);
            prop_assert!(ended);
        }

        #[test]
        fn what_is_fuzzed_holds(
            kinds in proptest::collection::vec((0u64..12, proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
            cut in 0usize..300,
            step in 1usize..50,
        ) {
            let mut bytes: Vec<u8> = kinds.iter().flat_map(|(kind, payload)| frame(*kind, payload)).collect();
            bytes.truncate(cut);
            crate::server::fuzzing::http3(&bytes, step);
        }

        #[test]
        fn no_bytes_are_kept_beyond_the_bound(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
            let mut frames = Frames::new(Place::Request, 100);
            let mut input = &bytes[..];
            while let Ok(Some(_)) = frames.next(&mut input) {
                prop_assert!(frames.kept.len() <= 100 + HEAD_BYTES);
            }
            prop_assert!(frames.kept.len() <= 100 + HEAD_BYTES);
        }
    }

    #[test]
    fn each_stream_has_its_frames() {
        for kind in [CANCEL_PUSH, SETTINGS, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID, 0x2, 0x6, 0x8, 0x9] {
            assert_eq!(
                read(Place::Request, &frame(kind, b"x"), 9),
                Err(Fault::Unexpected),
                "{kind}"
            );
        }
        for kind in [DATA, HEADERS, PUSH_PROMISE, 0x2, 0x6, 0x8, 0x9] {
            assert_eq!(
                read(Place::Control, &frame(kind, b"x"), 9),
                Err(Fault::Unexpected),
                "{kind}"
            );
        }
        let settings = read(Place::Control, &frame(SETTINGS, b"x"), 1).unwrap();
        assert_eq!(settings.1, [b"x"]);
        // PRIORITY_UPDATE (RFC 9218 §7.2) means nothing here.
        assert_eq!(
            read(Place::Control, &frame(0xf0700, b"xyz"), 2).unwrap().1,
            Vec::<Vec<u8>>::new()
        );
    }

    #[test]
    fn what_is_too_long_or_cut_short_is_seen() {
        let mut long = Vec::new();
        put(&mut long, HEADERS);
        put(&mut long, 1 << 61);
        assert_eq!(read(Place::Request, &long, 1), Err(Fault::TooLong));
        let cut = &frame(DATA, b"abc")[..4];
        let (data, _, ended) = read(Place::Request, cut, 1).unwrap();
        assert_eq!((&data[..], ended), (&b"ab"[..], false));
        assert!(!read(Place::Request, &[0x40], 1).unwrap().2, "half a head");
    }
}
