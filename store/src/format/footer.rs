//! Footers: what a restart and a walk need to know of the records of a segment, without their
//! fields and bodies.
//!
//! A segment has one footer or several, each about the records since the one before it. The
//! segment's trailer names the last one; each names the one before it.
//!
//! ```text
//! checksum, 8 bytes (over all that follows)
//! length, 4 bytes; offset and length of the footer before, 4 bytes each
//! number of entries; lowest write sequence; names of sites
//! entries
//! ```

use super::codec::{Decoder, Encode, varint_len};
use super::record::{SliceName, decode_objects};
use super::{Covers, Place, UNIT, checksum};
use crate::response::{Seq, Stamps};
use std::collections::HashMap;

const RESPONSE: u8 = 1;
const SLICED_RESPONSE: u8 = 2;
const SLICE: u8 = 3;

/// Bytes before the names of sites, at most.
const HEADER: usize = 8 + 12 + 20;

/// Where a footer is in its segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FooterPlace {
    pub(crate) offset: u32,
    /// Its bytes; 0 for no footer.
    pub(crate) length: u32,
}

/// What a footer says of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Bytes from the beginning of the segment.
    pub(crate) offset: u32,
    pub(crate) length: u32,
    pub(crate) write_seq: u64,
    pub(crate) url: u64,
    pub(crate) what: EntryWhat,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EntryWhat {
    Response {
        /// Tells the responses of a URL apart.
        variant: u32,
        /// The objects that its slices belong to, if its body is in slices.
        objects: Vec<u64>,
        site: Box<str>,
        key: Box<[u8]>,
        tags: Vec<Box<str>>,
        stamps: Stamps,
    },
    Slice(SliceName),
}

/// What a search needs of an entry. While a store is opened, as many are in memory as a segment has records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Brief {
    /// Bytes from the beginning of the segment.
    pub(crate) offset: u32,
    pub(crate) length: u32,
    pub(crate) url: u64,
    pub(crate) what: BriefWhat,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BriefWhat {
    Response {
        variant: u32,
        /// The seq up to which it was judged.
        valid_at: Seq,
        objects: Box<[u64]>,
    },
    Slice(SliceName),
}

impl From<Entry> for Brief {
    fn from(Entry { offset, length, url, what, .. }: Entry) -> Self {
        let what = match what {
            EntryWhat::Response { variant, objects, stamps, .. } => {
                BriefWhat::Response { variant, valid_at: stamps.valid_at, objects: objects.into() }
            }
            EntryWhat::Slice(name) => BriefWhat::Slice(name),
        };
        Self { offset, length, url, what }
    }
}

/// Bytes of the shortest entry: kind, offset, length, write sequence, URL.
const SHORTEST: usize = 1 + 1 + 1 + 1 + 8;

/// At most so many bytes a footer takes for this entry.
pub(crate) fn entry_bound(entry: &Entry) -> usize {
    // Kind, offset, length, write sequence, URL.
    let numbers = 1 + 5 + 5 + 10 + 8;
    numbers
        + match &entry.what {
            EntryWhat::Slice(name) => varint_len(name.object) + 5,
            EntryWhat::Response { site, key, tags, objects, .. } => {
                let tags: usize = tags.iter().map(|tag| 5 + tag.len()).sum();
                // Variant, objects, site, length of the key, stamps, number of tags.
                4 + (1 + 10 * objects.len()) + (5 + 5 + site.len()) + 5 + 30 + 5 + key.len() + tags
            }
        }
}

/// At most so many bytes a footer takes beside its entries.
pub(crate) const FOOTER_BOUND: usize = HEADER + 10;

/// A footer at this place, after the footer `before`.
pub(crate) fn encode(place: Place, before: FooterPlace, entries: &[Entry]) -> Vec<u8> {
    let mut out = vec![0; 8 + 4];
    out.extend_from_slice(&before.offset.to_le_bytes());
    out.extend_from_slice(&before.length.to_le_bytes());
    out.put_varint(entries.len() as u64);
    let first = entries.iter().map(|entry| entry.write_seq).min().unwrap_or(0);
    out.put_varint(first);
    let (mut sites, mut numbers) = (Vec::new(), HashMap::new());
    for entry in entries {
        if let EntryWhat::Response { site, .. } = &entry.what {
            numbers.entry(&**site).or_insert_with(|| {
                sites.push(&**site);
                sites.len() as u64 - 1
            });
        }
    }
    out.put_varint(sites.len() as u64);
    sites.iter().for_each(|site| out.put_block(site.as_bytes()));
    for entry in entries {
        encode_entry(&mut out, entry, first, &numbers);
    }
    let length = out.len() as u32;
    out[8..12].copy_from_slice(&length.to_le_bytes());
    let sum = checksum(Covers::Footer, place, &out[8..]);
    out[..8].copy_from_slice(&sum.to_le_bytes());
    out
}

fn encode_entry(out: &mut Vec<u8>, entry: &Entry, first: u64, sites: &HashMap<&str, u64>) {
    out.push(match &entry.what {
        EntryWhat::Response { objects, .. } if objects.is_empty() => RESPONSE,
        EntryWhat::Response { .. } => SLICED_RESPONSE,
        EntryWhat::Slice(_) => SLICE,
    });
    out.put_varint(u64::from(entry.offset / UNIT));
    out.put_varint(u64::from(entry.length));
    out.put_varint(entry.write_seq - first);
    out.extend_from_slice(&entry.url.to_le_bytes());
    match &entry.what {
        EntryWhat::Response { variant, objects, site, key, tags, stamps } => {
            out.put_varint(u64::from(*variant));
            if !objects.is_empty() {
                out.put_varint(objects.len() as u64);
                objects.iter().for_each(|object| out.put_varint(*object));
            }
            out.put_varint(sites.get(&**site).copied().unwrap_or_default());
            out.put_block(key);
            out.put_varint(stamps.filled_at);
            out.put_varint(stamps.valid_at.saturating_sub(stamps.filled_at));
            out.put_varint(stamps.soft_at);
            out.put_varint(tags.len() as u64);
            tags.iter().for_each(|tag| out.put_block(tag.as_bytes()));
        }
        EntryWhat::Slice(name) => {
            out.put_varint(name.object);
            out.put_varint(u64::from(name.number));
        }
    }
}

/// A footer as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Footer<E = Entry> {
    /// The one before it; its length is 0 where there is none.
    pub(crate) before: FooterPlace,
    pub(crate) entries: Vec<E>,
}

/// Reads a footer that was written at this place. `None`: it is damaged, or another one.
pub(crate) fn decode(bytes: &[u8], place: Place) -> Option<Footer> {
    decode_with(bytes, place, true)
}

/// The same without sites, keys and tags: nothing is allocated for a response but for its objects.
pub(crate) fn decode_brief(bytes: &[u8], place: Place) -> Option<Footer<Brief>> {
    decode_with(bytes, place, false)
}

fn decode_with<E: From<Entry>>(bytes: &[u8], place: Place, has_texts: bool) -> Option<Footer<E>> {
    let mut decoder = Decoder::new(bytes);
    let sum = decoder.u64()?;
    if checksum(Covers::Footer, place, decoder.rest()) != sum {
        return None;
    }
    if usize::try_from(decoder.u32()?).ok()? != bytes.len() {
        return None;
    }
    let before = FooterPlace { offset: decoder.u32()?, length: decoder.u32()? };
    let count = decoder.varint32()?;
    let first = decoder.varint()?;
    let sites = (0..decoder.varint32()?).map(|_| decoder.text()).collect::<Option<Vec<_>>>()?;
    // Not more than there is room for, whatever it says.
    let most = decoder.rest().len() / SHORTEST;
    let mut entries = Vec::with_capacity(most.min(usize::try_from(count).ok()?));
    for _ in 0..count {
        entries.push(decode_entry(&mut decoder, first, &sites, has_texts)?.into());
    }
    decoder.is_empty().then_some(Footer { before, entries })
}

fn decode_entry(
    decoder: &mut Decoder<'_>,
    first: u64,
    sites: &[&str],
    has_texts: bool,
) -> Option<Entry> {
    let kind = decoder.u8()?;
    let offset = decoder.varint32()?.checked_mul(UNIT)?;
    let length = decoder.varint32()?;
    let write_seq = first.checked_add(decoder.varint()?)?;
    let url = decoder.u64()?;
    let what = match kind {
        RESPONSE | SLICED_RESPONSE => {
            let variant = decoder.varint32()?;
            let objects = match kind {
                SLICED_RESPONSE => decode_objects(decoder)?,
                _ => Vec::new(),
            };
            let site = *sites.get(usize::try_from(decoder.varint()?).ok()?)?;
            let key = decoder.block()?;
            let filled_at = decoder.varint()?;
            let valid_at = filled_at.checked_add(decoder.varint()?)?;
            let stamps = Stamps { filled_at, valid_at, soft_at: decoder.varint()? };
            let mut tags = Vec::new();
            for _ in 0..decoder.varint32()? {
                let tag = decoder.text()?;
                if has_texts {
                    tags.push(Box::from(tag));
                }
            }
            let (site, key) = if has_texts { (site, key) } else { ("", &[][..]) };
            let (site, key) = (site.into(), key.into());
            EntryWhat::Response { variant, objects, site, key, tags, stamps }
        }
        SLICE => {
            EntryWhat::Slice(SliceName { object: decoder.varint()?, number: decoder.varint32()? })
        }
        _ => return None,
    };
    Some(Entry { offset, length, write_seq, url, what })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::StoreId;
    use super::*;

    fn place() -> Place {
        Place { store: StoreId([7; 16]), generation: 3, offset: 1600 }
    }

    fn response(offset: u32, site: &str, objects: &[u64]) -> Entry {
        let what = EntryWhat::Response {
            variant: 0xf_ffff,
            objects: objects.to_vec(),
            site: site.into(),
            key: Box::from(*b"http://h/a"),
            tags: vec!["one".into(), "two".into()],
            stamps: Stamps { filled_at: 5, valid_at: 9, soft_at: 7 },
        };
        Entry { offset, length: 333, write_seq: 1 << 41 | u64::from(offset), url: 99, what }
    }

    fn entries() -> Vec<Entry> {
        let slice = EntryWhat::Slice(SliceName { object: 4, number: 2 });
        vec![
            response(336, "a", &[]),
            response(0, "b", &[12, 1 << 60]),
            Entry { what: slice, ..response(672, "a", &[]) },
            response(1008, "a", &[]),
        ]
    }

    #[test]
    fn a_footer_is_read_as_it_was_written_and_takes_no_more_than_its_bound() {
        let before = FooterPlace { offset: 16, length: 5 };
        let bytes = encode(place(), before, &entries());
        let bound = entries().iter().map(entry_bound).sum::<usize>() + FOOTER_BOUND;
        assert!(bytes.len() <= bound, "{} of {bound}", bytes.len());
        let footer = decode(&bytes, place()).unwrap();
        assert_eq!((footer.before, footer.entries), (before, entries()));
        let brief = decode_brief(&bytes, place()).unwrap();
        assert_eq!(brief.before, before);
        let full: Vec<_> = entries().into_iter().map(Brief::from).collect();
        assert_eq!(brief.entries, full);
        let empty = decode(&encode(place(), before, &[]), place()).unwrap();
        assert!(empty.entries.is_empty());
    }

    #[test]
    fn no_bit_can_be_flipped_and_nothing_can_be_cut_off_or_moved() {
        let whole = encode(place(), FooterPlace::default(), &entries());
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped, place()).is_none(), "bit {bit}");
        }
        for length in 0..whole.len() {
            assert!(decode(&whole[..length], place()).is_none(), "{length} bytes");
        }
        assert!(decode(&whole, Place { offset: 1616, ..place() }).is_none());
    }
}
