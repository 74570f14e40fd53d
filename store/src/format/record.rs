//! One record in a segment: a response, or a slice of the body of one.
//!
//! ```text
//! checksum of the head, 8 bytes (over all of the head that follows)
//! checksum of the body, 8 bytes
//! kind and numbers (varints)
//! key, selecting fields, site, tags, fields
//! body
//! ```
//!
//! The body of a response that is longer than a slice is not here: its slices are records of their
//! own, named by the object's number.

use super::codec::{Decoder, Encode, varint_len};
use super::{Covers, Place, checksum};
use crate::response::{ResponseHead, Stamps};
use bytes::Bytes;
use std::ops::Range;

const RESPONSE: u8 = 1;
const SLICED_RESPONSE: u8 = 2;
const SLICE: u8 = 3;

/// Bytes of the two checksums.
const CHECKSUMS: usize = 16;

/// Where the body of a response is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyForm {
    /// In its record.
    Inline,
    /// In slices of these objects, at most [`MOST_OBJECTS`]: one more with each extension.
    Sliced { objects: Vec<u64>, length: u64 },
}

/// Objects of a body, at most.
pub(crate) const MOST_OBJECTS: usize = 32;

/// A slice of an object's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SliceName {
    /// The object.
    pub(crate) object: u64,
    /// Its number, from 0.
    pub(crate) number: u32,
}

/// At most so many bytes a response takes beside its body.
pub(crate) fn response_bound(head: &ResponseHead, form: &BodyForm) -> usize {
    let objects = match form {
        BodyForm::Inline => 0,
        BodyForm::Sliced { objects, .. } => 10 * objects.len(),
    };
    let tags: usize = head.tags.iter().map(|tag| tag.len() + varint_len(tag.len() as u64)).sum();
    // Numbers: at most 12 varints of 10 bytes, the kind, the digest.
    CHECKSUMS
        + 1
        + 8
        + 120
        + objects
        + head.key.len()
        + head.selecting.len()
        + head.site.len()
        + tags
        + head.fields.len()
}

/// At most so many bytes a slice takes beside its body.
pub(crate) const SLICE_BOUND: usize = CHECKSUMS + 1 + 8 + 50;

/// Appends a response at this place; `write_seq` orders the store's writes.
pub(crate) fn encode_response(
    out: &mut Vec<u8>,
    place: Place,
    write_seq: u64,
    head: &ResponseHead,
    form: &BodyForm,
    body: &[Bytes],
) {
    let begin = out.len();
    out.extend_from_slice(&[0; CHECKSUMS]);
    out.push(if *form == BodyForm::Inline { RESPONSE } else { SLICED_RESPONSE });
    out.extend_from_slice(&head.url.to_le_bytes());
    out.put_varint(write_seq);
    let Stamps { filled_at, valid_at, soft_at } = head.stamps;
    out.put_varint(filled_at);
    out.put_varint(valid_at);
    out.put_varint(soft_at);
    match form {
        BodyForm::Inline => out.put_varint(body.iter().map(|piece| piece.len() as u64).sum()),
        BodyForm::Sliced { objects, length } => {
            out.put_varint(objects.len() as u64);
            objects.iter().for_each(|object| out.put_varint(*object));
            out.put_varint(*length);
        }
    }
    out.put_block(&head.key);
    out.put_block(&head.selecting);
    out.put_block(head.site.as_bytes());
    out.put_varint(head.tags.len() as u64);
    head.tags.iter().for_each(|tag| out.put_block(tag.as_bytes()));
    out.put_block(&head.fields);
    seal(out, begin, place, body);
}

/// Appends a slice at this place.
pub(crate) fn encode_slice(
    out: &mut Vec<u8>,
    place: Place,
    write_seq: u64,
    url: u64,
    name: SliceName,
    body: &Bytes,
) {
    let begin = out.len();
    out.extend_from_slice(&[0; CHECKSUMS]);
    out.push(SLICE);
    out.extend_from_slice(&url.to_le_bytes());
    out.put_varint(write_seq);
    out.put_varint(name.object);
    out.put_varint(u64::from(name.number));
    out.put_varint(body.len() as u64);
    seal(out, begin, place, std::slice::from_ref(body));
}

/// Appends the body, and writes both checksums.
fn seal(out: &mut Vec<u8>, begin: usize, place: Place, body: &[Bytes]) {
    let end = out.len();
    body.iter().for_each(|piece| out.extend_from_slice(piece));
    let of_body = checksum(Covers::Body, place, &out[end..]);
    out[begin + 8..begin + CHECKSUMS].copy_from_slice(&of_body.to_le_bytes());
    let of_head = checksum(Covers::RecordHead, place, &out[begin + 8..end]);
    out[begin..begin + 8].copy_from_slice(&of_head.to_le_bytes());
}

/// A record as it was read. Both checksums are right.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    pub(crate) write_seq: u64,
    pub(crate) url: u64,
    pub(crate) what: What,
    /// The body in `bytes`.
    pub(crate) body: Bytes,
}

/// What a record holds.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Response { head: ResponseHead, form: BodyForm },
    Slice(SliceName),
}

/// The head of a record as it was read. Its checksum is right.
#[derive(Clone, Debug)]
pub(crate) struct DecodedHead {
    pub(crate) write_seq: u64,
    pub(crate) url: u64,
    pub(crate) what: What,
    /// Where the body lies in the record.
    pub(crate) body: Range<usize>,
    /// The checksum that the body has.
    of_body: u64,
}

/// Reads a record that was written at this place. `None`: it is damaged, or it is another one.
pub(crate) fn decode(bytes: &Bytes, place: Place) -> Option<Decoded> {
    let DecodedHead { write_seq, url, what, body, of_body } = decode_head(bytes, place)?;
    let body = bytes.get(body.clone()).map(|_| bytes.slice(body))?;
    (checksum(Covers::Body, place, &body) == of_body).then_some(Decoded {
        write_seq,
        url,
        what,
        body,
    })
}

/// Reads the head of a record that was written at this place; `bytes` begin with it. `None`: it is damaged,
/// longer, or of another record.
pub(crate) fn decode_head(bytes: &Bytes, place: Place) -> Option<DecodedHead> {
    let mut decoder = Decoder::new(bytes);
    let of_head = decoder.u64()?;
    let of_body = decoder.u64()?;
    let kind = decoder.u8()?;
    let url = decoder.u64()?;
    let write_seq = decoder.varint()?;
    let (what, length) = match kind {
        RESPONSE | SLICED_RESPONSE => {
            let stamps = Stamps {
                filled_at: decoder.varint()?,
                valid_at: decoder.varint()?,
                soft_at: decoder.varint()?,
            };
            let (form, length) = match kind {
                RESPONSE => (BodyForm::Inline, decoder.varint()?),
                _ => {
                    let objects = decode_objects(&mut decoder)?;
                    (BodyForm::Sliced { objects, length: decoder.varint()? }, 0)
                }
            };
            let part = |block: &[u8]| range_in(bytes, block);
            let key = part(decoder.block()?);
            let selecting = part(decoder.block()?);
            let site = decoder.text()?.into();
            let tags = (0..decoder.varint()?)
                .map(|_| decoder.text().map(Box::from))
                .collect::<Option<Vec<Box<str>>>>()?;
            let fields = part(decoder.block()?);
            let head = ResponseHead {
                url,
                key: bytes.slice(key),
                selecting: bytes.slice(selecting),
                site,
                tags,
                fields: bytes.slice(fields),
                stamps,
            };
            (What::Response { head, form }, length)
        }
        SLICE => {
            let name = SliceName { object: decoder.varint()?, number: decoder.varint32()? };
            (What::Slice(name), decoder.varint()?)
        }
        _ => return None,
    };
    let end = bytes.len() - decoder.rest().len();
    if checksum(Covers::RecordHead, place, &bytes[8..end]) != of_head {
        return None;
    }
    let body = end..end.checked_add(usize::try_from(length).ok()?)?;
    Some(DecodedHead { write_seq, url, what, body, of_body })
}

/// The numbers of a body's objects.
pub(super) fn decode_objects(decoder: &mut Decoder<'_>) -> Option<Vec<u64>> {
    let count = usize::try_from(decoder.varint()?).ok()?;
    let is_possible = (1..=MOST_OBJECTS).contains(&count);
    is_possible.then(|| (0..count).map(|_| decoder.varint()).collect())?
}

/// Where `part`, which lies in `whole`, begins and ends in it.
fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    let begin = part.as_ptr() as usize - whole.as_ptr() as usize;
    begin..begin + part.len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::StoreId;
    use super::*;

    fn place() -> Place {
        Place { store: StoreId([7; 16]), generation: 3, offset: 160 }
    }

    fn head() -> ResponseHead {
        ResponseHead {
            url: 0xfedc_ba98_7654_3210,
            key: Bytes::from_static(b"http://h/a\nrelease=2"),
            selecting: Bytes::from_static(b"accept-language: de"),
            site: "shop".into(),
            tags: vec!["one".into(), "two".into()],
            fields: Bytes::from_static(b"packed"),
            stamps: Stamps { filled_at: 5, valid_at: 9, soft_at: 7 },
        }
    }

    fn response() -> Bytes {
        let mut out = Vec::new();
        let body = [Bytes::from_static(b"hello "), Bytes::from_static(b"world")];
        encode_response(&mut out, place(), 77, &head(), &BodyForm::Inline, &body);
        assert!(out.len() <= response_bound(&head(), &BodyForm::Inline) + 11);
        out.into()
    }

    #[test]
    fn a_response_is_read_as_it_was_written() {
        let mut padded = response().to_vec();
        padded.extend_from_slice(b"what lies behind it");
        let decoded = decode(&padded.into(), place()).unwrap();
        assert_eq!((decoded.write_seq, decoded.url), (77, head().url));
        assert_eq!(decoded.body, "hello world");
        let What::Response { head: read, form } = decoded.what else { panic!("a slice") };
        assert_eq!((read, form), (head(), BodyForm::Inline));
    }

    #[test]
    fn a_slice_is_read_as_it_was_written() {
        let (mut out, name) = (Vec::new(), SliceName { object: 1 << 41, number: 20_479 });
        encode_slice(&mut out, place(), 78, 4, name, &Bytes::from_static(b"slice"));
        assert!(out.len() <= SLICE_BOUND + 5);
        let decoded = decode(&out.into(), place()).unwrap();
        assert_eq!((decoded.write_seq, decoded.url, decoded.body), (78, 4, "slice".into()));
        assert!(matches!(decoded.what, What::Slice(read) if read == name));
    }

    #[test]
    fn no_bit_can_be_flipped_and_nothing_can_be_cut_off_or_moved() {
        let whole = response();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped.into(), place()).is_none(), "bit {bit}");
        }
        for length in 0..whole.len() {
            assert!(decode(&whole.slice(..length), place()).is_none(), "{length} bytes");
        }
        for moved in [
            Place { generation: 4, ..place() },
            Place { offset: 176, ..place() },
            Place { store: StoreId([8; 16]), ..place() },
        ] {
            assert!(decode(&whole, moved).is_none(), "{moved:?}");
        }
    }
}
