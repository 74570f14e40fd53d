//! The cache key and the fields of a stored response in one allocation.
//!
//! A `HeaderMap` costs over a hundred bytes a field before its values; a store of a million small
//! responses would be mostly maps. Here a field is one byte of name code (or the name itself),
//! its value's length and its value; the map is made when a response is sent.

use bytes::{BufMut, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::sync::LazyLock;

/// Names that are stored as one byte. The order is part of the form in which responses are kept on disk:
/// names are only added at the end.
static KNOWN: [HeaderName; 44] = [
    header::ACCEPT_RANGES,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
    header::AGE,
    header::ALLOW,
    header::ALT_SVC,
    header::CACHE_CONTROL,
    header::CACHE_STATUS,
    header::CDN_CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_LOCATION,
    header::CONTENT_RANGE,
    header::CONTENT_SECURITY_POLICY,
    header::CONTENT_TYPE,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::LINK,
    header::LOCATION,
    header::PRAGMA,
    header::REFERRER_POLICY,
    header::REFRESH,
    header::RETRY_AFTER,
    header::SERVER,
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::VARY,
    header::VIA,
    header::WARNING,
    header::X_CONTENT_TYPE_OPTIONS,
    header::X_FRAME_OPTIONS,
    header::X_XSS_PROTECTION,
    HeaderName::from_static("surrogate-key"),
    HeaderName::from_static("cache-tag"),
    HeaderName::from_static("surrogate-control"),
    HeaderName::from_static("x-powered-by"),
];

/// Marks a field whose name follows in full.
const SPELLED: u8 = u8::MAX;

/// The cache key in its readable form, and the response's fields, packed. Order and repeats of
/// fields are kept. The allocation begins with the length of the key: two bytes or, of a key that is
/// longer than [`SHORT`] bytes, two that mark it and then its length.
#[derive(Clone, Debug)]
pub(crate) struct PackedHead(Box<[u8]>);

/// The fields of a [`PackedHead`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedFields<'a>(&'a [u8]);

/// Longest key whose length takes two bytes.
const SHORT: u16 = u16::MAX - 1;

impl PackedHead {
    /// Packs a key and a map. A value over 65,535 bytes cannot be packed and is refused by name.
    pub(crate) fn pack(key: &[u8], headers: &HeaderMap) -> Result<Self, HeaderName> {
        let size: usize = headers.iter().map(|(n, v)| n.as_str().len() + v.len() + 5).sum();
        let mut out = Vec::with_capacity(2 + key.len() + size);
        put_key(&mut out, key);
        for (name, value) in headers {
            match code(name) {
                Some(code) => out.put_u8(code),
                None => {
                    out.put_u8(SPELLED);
                    let spelled = name.as_str().as_bytes();
                    let length = u16::try_from(spelled.len()).map_err(|_| name.clone())?;
                    out.put_u16(length);
                    out.put_slice(spelled);
                }
            }
            let length = u16::try_from(value.len()).map_err(|_| name.clone())?;
            out.put_u16(length);
            out.put_slice(value.as_bytes());
        }
        // A copy exactly as large as it is: an allocator asked to shrink a block may keep it, and
        // the spare room would be paid a million times.
        Ok(Self(Box::from(&*out)))
    }

    /// Of a key and fields as [`PackedFields::bytes`] has them; `None` if those are no fields.
    pub(crate) fn of_packed(key: &[u8], fields: &[u8]) -> Option<Self> {
        let mut entries = PackedFields(fields).entries();
        let is_sound = entries.by_ref().all(|(name, value)| {
            name.to_name().is_some()
                && fields.get(value).is_some_and(|value| HeaderValue::from_bytes(value).is_ok())
        });
        if !is_sound || entries.at != fields.len() {
            return None;
        }
        let mut out = Vec::with_capacity(2 + key.len() + fields.len());
        put_key(&mut out, key);
        out.put_slice(fields);
        Some(Self(out.into_boxed_slice()))
    }

    /// The key.
    pub(crate) fn key(&self) -> &[u8] {
        self.split().0
    }

    /// The fields.
    pub(crate) fn fields(&self) -> PackedFields<'_> {
        PackedFields(self.split().1)
    }

    /// Bytes held, of key and fields together.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn split(&self) -> (&[u8], &[u8]) {
        let (length, rest) = match self.0.split_first_chunk() {
            Some((short, rest)) if u16::from_be_bytes(*short) <= SHORT => {
                (usize::from(u16::from_be_bytes(*short)), rest)
            }
            Some((_, rest)) => match rest.split_first_chunk() {
                Some((length, rest)) => (usize::from_be_bytes(*length), rest),
                None => (0, rest),
            },
            None => (0, &[][..]),
        };
        rest.split_at(length.min(rest.len()))
    }
}

/// Appends a key, after its length.
fn put_key(out: &mut Vec<u8>, key: &[u8]) {
    match u16::try_from(key.len()) {
        Ok(length @ ..=SHORT) => out.put_u16(length),
        _ => {
            out.put_u16(u16::MAX);
            out.put_slice(&key.len().to_be_bytes());
        }
    }
    out.put_slice(key);
}

impl<'a> PackedFields<'a> {
    /// The fields as they are packed.
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Appends every field to `headers`. The values share one copy of the packed bytes. Sharing the
    /// packed bytes themselves would cost 40 bytes more for each stored response.
    pub(crate) fn append_to(self, headers: &mut HeaderMap) {
        let copy = Bytes::copy_from_slice(self.0);
        for (name, range) in self.entries() {
            let value = HeaderValue::from_maybe_shared(copy.slice(range));
            if let (Some(name), Ok(value)) = (name.to_name(), value) {
                headers.append(name, value);
            }
        }
    }

    /// The fields as a map of their own.
    pub(crate) fn to_map(self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.entries().count());
        self.append_to(&mut headers);
        headers
    }

    /// The first value of a field.
    pub(crate) fn first(self, name: &HeaderName) -> Option<&'a [u8]> {
        self.entries().find(|(found, _)| found.is(name)).map(|(_, range)| &self.0[range])
    }

    /// Bytes held.
    pub(crate) fn len(self) -> usize {
        self.0.len()
    }

    /// How many lines there are.
    pub(crate) fn lines(self) -> usize {
        self.entries().count()
    }

    fn entries(self) -> Entries<'a> {
        Entries { bytes: self.0, at: 0 }
    }
}

/// The codes of the known names.
static CODES: LazyLock<HeaderMap<u8>> =
    LazyLock::new(|| KNOWN.iter().cloned().zip(0..SPELLED).collect());

fn code(name: &HeaderName) -> Option<u8> {
    CODES.get(name).copied()
}

/// A field's name as packed.
enum Name<'a> {
    Known(&'static HeaderName),
    Spelled(&'a [u8]),
}

impl Name<'_> {
    fn is(&self, name: &HeaderName) -> bool {
        match self {
            Self::Known(known) => *known == name,
            Self::Spelled(bytes) => *bytes == name.as_str().as_bytes(),
        }
    }

    fn to_name(&self) -> Option<HeaderName> {
        match self {
            Self::Known(known) => Some((*known).clone()),
            Self::Spelled(bytes) => HeaderName::from_bytes(bytes).ok(),
        }
    }
}

struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Entries<'_> {
    fn length(&mut self) -> Option<usize> {
        let high = *self.bytes.get(self.at)?;
        let low = *self.bytes.get(self.at + 1)?;
        self.at += 2;
        Some(usize::from(u16::from_be_bytes([high, low])))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (Name<'a>, std::ops::Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let code = *self.bytes.get(self.at)?;
        self.at += 1;
        let name = if code == SPELLED {
            let length = self.length()?;
            let start = self.at;
            self.at += length;
            Name::Spelled(self.bytes.get(start..self.at)?)
        } else {
            Name::Known(KNOWN.get(usize::from(code))?)
        };
        let length = self.length()?;
        let start = self.at;
        self.at += length;
        Some((name, start..self.at))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_known_name_has_its_own_code() {
        for (at, name) in KNOWN.iter().enumerate() {
            assert_eq!(code(name), u8::try_from(at).ok(), "{name} is listed twice");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out_again(
            key in proptest::collection::vec(any::<u8>(), 0..300),
            fields in proptest::collection::vec(("[a-z][a-z0-9-]{0,20}", "[ -~]{0,60}"), 0..20)
        ) {
            let mut map = HeaderMap::new();
            for (name, value) in &fields {
                map.append(
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                );
            }
            let packed = PackedHead::pack(&key, &map).unwrap();
            prop_assert_eq!(packed.key(), &*key);
            prop_assert_eq!(packed.fields().to_map(), map.clone());
            for name in map.keys() {
                let first = packed.fields().first(name);
                prop_assert_eq!(first, map.get(name).map(HeaderValue::as_bytes));
            }
        }
    }

    #[test]
    fn a_key_may_be_longer_than_two_bytes_can_say() {
        let map = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("\"a\""))]);
        for length in [0, 1, 65_534, 65_535, 65_536, 1 << 20] {
            let key = vec![b'k'; length];
            let packed = PackedHead::pack(&key, &map).unwrap();
            assert_eq!(packed.key(), &*key);
            assert_eq!(packed.fields().to_map(), map);
        }
    }

    #[test]
    fn a_value_too_long_to_pack_is_refused_by_name() {
        let mut map = HeaderMap::new();
        map.insert("x-big", HeaderValue::from_bytes(&vec![b'a'; 70_000]).unwrap());
        assert_eq!(PackedHead::pack(b"", &map).unwrap_err(), "x-big");
    }
}
