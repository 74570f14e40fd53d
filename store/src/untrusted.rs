//! The decoders of all files, on any bytes whose checksums are right: for the fuzz target, and for the
//! test below.

use crate::format::codec::Decoder;
use crate::format::journal::{Change, Header, decode_batch, encode_batch};
use crate::format::record::{self, Decoded, What};
use crate::format::trailer::Trailer;
use crate::format::witness::Witness;
use crate::format::{Covers, Place, SECTOR, StoreId, checksum, footer};
use bytes::Bytes;

/// Bytes are read as what the first of them says. Whatever is read is written and read again as the
/// same.
///
/// # Panics
/// It is not the same.
pub fn decode(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let place = Place { store: StoreId([7; 16]), generation: 3, offset: 160 };
    match kind % 6 {
        0 => read_record(rest, place),
        1 => {
            let mut bytes = rest.to_vec();
            if bytes.len() < 12 {
                return;
            }
            let length = bytes.len() as u32;
            bytes[8..12].copy_from_slice(&length.to_le_bytes());
            let sum = checksum(Covers::Footer, place, &bytes[8..]);
            bytes[..8].copy_from_slice(&sum.to_le_bytes());
            let Some(read) = footer::decode(&bytes, place) else { return };
            let again = footer::encode(place, read.before, &read.entries);
            let again = footer::decode(&again, place);
            assert_eq!(
                again.map(|again| (again.before, again.entries)),
                Some((read.before, read.entries))
            );
        }
        2 => {
            let batch = encode_batch(place, rest);
            let Some(entries) = decode_batch(&batch, place) else { panic!("it was written") };
            let mut decoder = Decoder::new(entries);
            while let Some(change) = Change::decode(&mut decoder) {
                let mut again = Vec::new();
                change.encode(&mut again);
                assert_eq!(Change::decode(&mut Decoder::new(&again)), Some(change));
            }
        }
        3 => {
            let Ok(header) = Header::decode(rest) else { return };
            assert_eq!(Header::decode(&header.encode()), Ok(header));
        }
        4 => drop(Witness::read(rest)),
        _ => drop(Trailer::decode(&rest[..rest.len().min(SECTOR)], place)),
    }
}

/// The head's checksum is made right at the first place where that makes the record one.
fn read_record(rest: &[u8], place: Place) {
    let mut bytes = rest.to_vec();
    if bytes.len() < 16 {
        return;
    }
    for end in 16..=bytes.len() {
        let of_body = checksum(Covers::Body, place, &bytes[end..]);
        bytes[8..16].copy_from_slice(&of_body.to_le_bytes());
        let of_head = checksum(Covers::RecordHead, place, &bytes[8..end]);
        bytes[..8].copy_from_slice(&of_head.to_le_bytes());
        let Some(Decoded { write_seq, url, what, body }) =
            record::decode(&Bytes::copy_from_slice(&bytes), place)
        else {
            continue;
        };
        let mut again = Vec::new();
        match &what {
            What::Response { head, form } => {
                let body = std::slice::from_ref(&body);
                record::encode_response(&mut again, place, write_seq, head, form, body);
                assert!(again.len() <= record::response_bound(head, form) + body[0].len());
            }
            What::Slice(name) => {
                record::encode_slice(&mut again, place, write_seq, url, *name, &body)
            }
        }
        let again = record::decode(&again.into(), place).map(|it| (it.write_seq, it.url, it.body));
        assert_eq!(again, Some((write_seq, url, body)));
        return;
    }
}

#[cfg(test)]
mod tests {
    use crate::format::mixed;

    /// Short values, most of them small, are what the decoders take for counts and lengths.
    #[test]
    fn any_bytes_are_read_or_refused() {
        let mut random = 1;
        for _ in 0..60_000 {
            random = mixed(random);
            let (length, most) = (random % 80, [4, 16, 256][(random >> 20) as usize % 3]);
            let bytes: Vec<u8> = (0..length)
                .map(|at| {
                    let byte = mixed(random ^ at);
                    if byte.is_multiple_of(5) {
                        (byte >> 8) as u8
                    } else {
                        ((byte >> 8) % most) as u8
                    }
                })
                .collect();
            super::decode(&bytes);
        }
    }
}
