//! The checkpoint, as the journal holds it.

use super::codec::{Decoder, Encode};
use crate::checkpoint::{Checkpoint, SiteRules};

/// Appends a checkpoint.
pub(crate) fn encode(out: &mut Vec<u8>, checkpoint: &Checkpoint) {
    let Checkpoint { log, member, base, applied, mark, checked, sites, wall } = checkpoint;
    put_option(out, log.as_deref());
    put_option(out, member.as_deref());
    for number in [*base, *applied, *mark, *checked, *wall] {
        out.put_varint(number);
    }
    out.put_varint(sites.len() as u64);
    for site in sites {
        out.put_block(site.site.as_bytes());
        out.extend_from_slice(&site.fingerprint.to_le_bytes());
        out.extend_from_slice(&site.life.to_le_bytes());
    }
}

/// Reads a checkpoint.
pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Option<Checkpoint> {
    let (log, member) = (option(decoder)?, option(decoder)?);
    let (base, applied, mark) = (decoder.varint()?, decoder.varint()?, decoder.varint()?);
    let (checked, wall) = (decoder.varint()?, decoder.varint()?);
    let sites = (0..decoder.varint32()?)
        .map(|_| {
            let site = decoder.text()?.to_owned();
            Some(SiteRules { site, fingerprint: decoder.u64()?, life: decoder.u64()? })
        })
        .collect::<Option<_>>()?;
    Some(Checkpoint { log, member, base, applied, mark, checked, sites, wall })
}

fn put_option(out: &mut Vec<u8>, text: Option<&str>) {
    out.push(u8::from(text.is_some()));
    if let Some(text) = text {
        out.put_block(text.as_bytes());
    }
}

fn option(decoder: &mut Decoder<'_>) -> Option<Option<String>> {
    match decoder.u8()? {
        0 => Some(None),
        1 => Some(Some(decoder.text()?.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_read_as_it_was_written() {
        let site = |site: &str, fingerprint| SiteRules { site: site.into(), fingerprint, life: 3 };
        let full = Checkpoint {
            log: Some("log".into()),
            member: Some("member".into()),
            base: 7,
            applied: 1 << 40,
            mark: u64::MAX,
            checked: 9,
            sites: vec![site("a", 1), site("b", u64::MAX)],
            wall: 1_796_000_000,
        };
        for checkpoint in [full, Checkpoint::default()] {
            let mut bytes = Vec::new();
            encode(&mut bytes, &checkpoint);
            assert_eq!(decode(&mut Decoder::new(&bytes)), Some(checkpoint));
            for length in 0..bytes.len() {
                assert_eq!(decode(&mut Decoder::new(&bytes[..length])), None);
            }
        }
    }
}
