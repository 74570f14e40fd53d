//! What a node keeps of a response on disk beside what the store itself knows (key, tags, stamps,
//! body): its status, its terms and its fields, as bytes. Pure, and read without trust: a record of
//! another version, or one that is no record, is a miss.

use crate::store::{Forms, PackedHead, Selecting, Served, Stored, StoredBody, Tags};
use bytes::{BufMut, Bytes};
use http::{HeaderName, StatusCode};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use weir_rules::freshness::Freshness;
use weir_rules::storability::LifetimeSource;
use weir_rules::targeted::Source;
use weir_rules::time::Time;
use weir_store::ResponseHead;

/// The version of the form. To be raised with every change of it.
const VERSION: u8 = 1;

/// Where lifetimes come from, by their number in records. Only added to, at the end.
const SOURCES: [LifetimeSource; 13] = [
    LifetimeSource::SMaxage(Source::CdnCacheControl),
    LifetimeSource::SMaxage(Source::SurrogateControl),
    LifetimeSource::SMaxage(Source::CacheControl),
    LifetimeSource::MaxAge(Source::CdnCacheControl),
    LifetimeSource::MaxAge(Source::SurrogateControl),
    LifetimeSource::MaxAge(Source::CacheControl),
    LifetimeSource::Expires,
    LifetimeSource::Heuristic,
    LifetimeSource::Versioned,
    LifetimeSource::SiteDefault,
    LifetimeSource::Negative,
    LifetimeSource::ValidatorOnly,
    LifetimeSource::Rule,
];

const VALIDATE_ALWAYS: u8 = 1;
const VALIDATE_WHEN_STALE: u8 = 2;
const IMMUTABLE: u8 = 4;
/// It answered a request with Authorization, so that it is never compressed.
const AUTHORIZED: u8 = 8;

/// A response as the node kept it.
#[derive(Debug)]
pub(super) struct Record {
    /// Which life of its site it was stored in.
    pub(super) life: u64,
    /// Its status.
    pub(super) status: StatusCode,
    /// When it is fresh.
    pub(super) freshness: Freshness,
    lifetime_source: LifetimeSource,
    head: PackedHead,
    selecting: Option<Box<Selecting>>,
    authorized: bool,
}

/// The record of a response, stored in this life of its site.
pub(super) fn encode(stored: &Stored, life: u64) -> Bytes {
    let fields = stored.fields().bytes();
    let mut out = Vec::with_capacity(40 + fields.len());
    let Freshness { born, lifetime, stale_while_revalidate, stale_if_error, .. } = stored.freshness;
    out.put_u8(VERSION);
    out.put_u64(life);
    out.put_u16(stored.status.as_u16());
    let authorized = if stored.forms.is_never() { AUTHORIZED } else { 0 };
    out.put_u8(flags(&stored.freshness) | authorized);
    let source = SOURCES.iter().position(|source| *source == stored.lifetime_source);
    out.put_u8(source.and_then(|source| u8::try_from(source).ok()).unwrap_or(u8::MAX));
    out.put_u64(born.as_millis());
    for seconds in [lifetime, stale_while_revalidate, stale_if_error] {
        out.put_u32(seconds);
    }
    out.put_slice(fields);
    out.into()
}

fn flags(freshness: &Freshness) -> u8 {
    let flag = |is_set, flag| if is_set { flag } else { 0 };
    flag(freshness.validate_always, VALIDATE_ALWAYS)
        | flag(freshness.validate_when_stale, VALIDATE_WHEN_STALE)
        | flag(freshness.immutable, IMMUTABLE)
}

/// The selecting fields of a response as the store keeps them: equal bytes for equal ones.
pub(super) fn encode_selecting(selecting: Option<&Selecting>) -> Bytes {
    let Some(Selecting { fields, values }) = selecting else { return Bytes::new() };
    let mut out = Vec::new();
    put_length(&mut out, fields.len());
    for name in fields {
        put_length(&mut out, name.as_str().len());
        out.put_slice(name.as_str().as_bytes());
    }
    out.put_slice(values);
    out.into()
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    // A request's or a response's fields are bounded far below that.
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

/// Reads the record of a response; `None` if it is none.
pub(super) fn decode(head: &ResponseHead) -> Option<Record> {
    let mut rest = Rest(&head.fields);
    if rest.byte()? != VERSION {
        return None;
    }
    let life = rest.number()?;
    let status = StatusCode::from_u16(u16::from_be_bytes(*rest.array()?)).ok()?;
    let flags = rest.byte()?;
    let lifetime_source = *SOURCES.get(usize::from(rest.byte()?))?;
    let born = Time::from_millis(rest.number()?);
    let (lifetime, stale_while_revalidate) = (rest.seconds()?, rest.seconds()?);
    let freshness = Freshness {
        born,
        lifetime,
        stale_while_revalidate,
        stale_if_error: rest.seconds()?,
        validate_always: flags & VALIDATE_ALWAYS != 0,
        validate_when_stale: flags & VALIDATE_WHEN_STALE != 0,
        immutable: flags & IMMUTABLE != 0,
    };
    let selecting = match head.selecting.is_empty() {
        true => None,
        false => Some(Box::new(decode_selecting(&head.selecting)?)),
    };
    let head = PackedHead::of_packed(&head.key, rest.0)?;
    let authorized = flags & AUTHORIZED != 0;
    Some(Record { life, status, freshness, lifetime_source, head, selecting, authorized })
}

fn decode_selecting(bytes: &[u8]) -> Option<Selecting> {
    let mut rest = Rest(bytes);
    let names = (0..rest.seconds()?)
        .map(|_| {
            let length = rest.seconds()? as usize;
            HeaderName::from_bytes(rest.take(length)?).ok()
        })
        .collect::<Option<Vec<_>>>()?;
    Some(Selecting { fields: names.into(), values: rest.0.to_vec() })
}

impl Record {
    /// The stored response that it makes with what the store knows of it.
    pub(super) fn into_stored(
        self,
        head: &ResponseHead,
        site: Arc<str>,
        body: StoredBody,
    ) -> Stored {
        Stored {
            head: self.head,
            site,
            status: self.status,
            body,
            forms: if self.authorized { Forms::never() } else { Forms::default() },
            freshness: self.freshness,
            lifetime_source: self.lifetime_source,
            selecting: self.selecting,
            tags: Tags::from(head.tags.clone().into_boxed_slice()),
            filled_at: head.stamps.filled_at,
            valid_at: AtomicU64::new(head.stamps.valid_at),
            soft_at: AtomicU64::new(head.stamps.soft_at),
            served: Served::default(),
        }
    }
}

/// Reads a record from bytes that nobody vetted: one that is read and written is read again as the same.
/// For the fuzz targets.
pub fn fuzz(fields: &[u8], selecting: &[u8]) {
    let head = |fields: Bytes, selecting: Bytes| ResponseHead {
        url: 0,
        key: Bytes::from_static(b"http://example.com/"),
        selecting,
        site: "".into(),
        tags: Vec::new(),
        fields,
        stamps: weir_store::Stamps::default(),
    };
    let first = head(Bytes::copy_from_slice(fields), Bytes::copy_from_slice(selecting));
    let Some(record) = decode(&first) else { return };
    let (life, body) = (record.life, StoredBody::whole_of(Bytes::new()));
    let stored = record.into_stored(&first, Arc::from(""), body);
    let again = head(encode(&stored, life), encode_selecting(stored.selecting.as_deref()));
    let Some(again) = decode(&again) else { panic!("what was written is no record") };
    assert_eq!((again.life, again.status), (life, stored.status));
    assert_eq!(again.head.fields().to_map(), stored.fields().to_map());
    assert_eq!(again.selecting, stored.selecting);
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| *byte)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().copied().map(u64::from_be_bytes)
    }

    /// A number of 32 bits: seconds, or a length.
    fn seconds(&mut self) -> Option<u32> {
        self.array().copied().map(u32::from_be_bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue, header};
    use proptest::prelude::*;
    use weir_store::Stamps;

    fn response(stored: &Stored) -> ResponseHead {
        ResponseHead {
            url: 1,
            key: Bytes::copy_from_slice(stored.key()),
            selecting: encode_selecting(stored.selecting.as_deref()),
            site: "site".into(),
            tags: stored.tags.to_vec(),
            fields: encode(stored, 7),
            stamps: Stamps { filled_at: 3, valid_at: 5, soft_at: 4 },
        }
    }

    fn example() -> Stored {
        let fields = HeaderMap::from_iter([
            (header::ETAG, HeaderValue::from_static("\"a\"")),
            (HeaderName::from_static("x-own"), HeaderValue::from_static("1")),
        ]);
        let tags: Box<[Box<str>]> = Box::from([Box::from("a"), Box::from("b")]);
        Stored {
            head: PackedHead::pack(b"http://example.com/a\nrelease=2", &fields).unwrap(),
            status: StatusCode::NOT_FOUND,
            selecting: Some(Box::new(Selecting {
                fields: [header::ACCEPT_LANGUAGE, header::ACCEPT_ENCODING].into(),
                values: b"en\0gzip".to_vec(),
            })),
            tags: tags.into(),
            ..Stored::example()
        }
    }

    #[test]
    fn a_response_is_read_as_it_was_written() {
        for source in SOURCES {
            let stored = Stored { lifetime_source: source, ..example() };
            let head = response(&stored);
            let record = decode(&head).unwrap();
            assert_eq!((record.life, record.status), (7, stored.status));
            let body = StoredBody::new(Vec::new(), Some(0));
            let read = record.into_stored(&head, Arc::from("site"), body);
            assert_eq!(read.freshness, stored.freshness);
            assert_eq!(read.lifetime_source, source);
            assert_eq!(read.selecting, stored.selecting);
            assert_eq!(read.fields().to_map(), stored.fields().to_map());
            assert_eq!((read.key(), &*read.tags), (stored.key(), &*stored.tags));
            assert_eq!((read.filled_at, read.valid_at.into_inner()), (3, 5));
            assert_eq!(read.soft_at.into_inner(), 4);
        }
    }

    /// Stores on disks hold it: a change of the form must raise its version.
    #[test]
    fn the_form_is_that_of_its_version() {
        let bytes = encode(&example(), 7);
        let shown: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let golden = "01\
            0000000000000007\
            0194\
            00\
            07\
            000000b69b2f6a90\
            0000003c0000000000000000\
            160003226122ff0005782d6f776e000131";
        let time = Stored::example().freshness.born.as_millis();
        let golden = golden.replace("000000b69b2f6a90", &format!("{time:016x}"));
        assert_eq!(shown, golden);
    }

    #[test]
    fn what_is_no_record_is_none() {
        let whole = response(&example());
        for length in 0..whole.fields.len() {
            let cut = ResponseHead { fields: whole.fields.slice(..length), ..whole.clone() };
            // A head whose last fields are missing may still be one.
            if let Some(record) = decode(&cut) {
                assert!(record.head.fields().lines() < 2);
            }
        }
        let mut other = whole.fields.to_vec();
        other[0] += 1;
        assert!(decode(&ResponseHead { fields: other.into(), ..whole }).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_none(
            fields in proptest::collection::vec(any::<u8>(), 0..200),
            selecting in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut fields = fields;
            if let Some(first) = fields.first_mut() {
                *first = VERSION;
            }
            fuzz(&fields, &selecting);
        }
    }
}
