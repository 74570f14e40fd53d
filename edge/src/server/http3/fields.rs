//! Which pseudo-header fields a request has (RFC 9114 §4.3), read from its encoded field section (RFC 9204 §4.5):
//! h3 takes them in any order and number, the last of each.

/// The field section is malformed (RFC 9114 §4.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Malformed;

/// The pseudo-header fields of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pseudo {
    Authority,
    Path,
    Method,
    Scheme,
}

/// What a line's name is.
enum Name {
    Plain,
    Pseudo(Pseudo),
    /// That of a response, or none that is defined.
    Wrong,
}

/// Checks that pseudo-header fields are those of a request, come once each, and before all others. What cannot be
/// read is left to whoever decodes it.
///
/// # Errors
/// One of these does not hold.
pub(in crate::server) fn check(block: &[u8]) -> Result<(), Malformed> {
    let mut lines = Lines { rest: block };
    let mut seen: Vec<Pseudo> = Vec::with_capacity(4);
    let mut in_plain = false;
    // Required Insert Count, and Delta Base (RFC 9204 §4.5.1).
    if lines.integer(8).is_none() || lines.integer(7).is_none() {
        return Ok(());
    }
    while let Some(name) = lines.next() {
        match name {
            Name::Plain => in_plain = true,
            Name::Pseudo(pseudo) if !in_plain && !seen.contains(&pseudo) => seen.push(pseudo),
            Name::Pseudo(_) | Name::Wrong => return Err(Malformed),
        }
    }
    Ok(())
}

/// Whether there is any of them: trailers have none.
pub(in crate::server) fn has_pseudo(block: &[u8]) -> bool {
    let mut lines = Lines { rest: block };
    if lines.integer(8).is_none() || lines.integer(7).is_none() {
        return false;
    }
    std::iter::from_fn(|| lines.next()).any(|name| !matches!(name, Name::Plain))
}

struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    /// The name of the next line; `None` at the end, and where it cannot be read.
    fn next(&mut self) -> Option<Name> {
        let first = *self.rest.first()?;
        if first & 0x80 != 0 {
            let index = self.integer(6)?;
            // There is no dynamic table.
            return (first & 0x40 != 0).then(|| of_static(index));
        }
        if first & 0x40 != 0 {
            let index = self.integer(4)?;
            self.string(7)?;
            return (first & 0x10 != 0).then(|| of_static(index));
        }
        if first & 0x20 != 0 {
            let is_coded = first & 0x08 != 0;
            let name = self.string(3)?;
            self.string(7)?;
            return Some(of_literal(name, is_coded));
        }
        None
    }

    /// An integer in the last `bits` of the next byte, and what follows (RFC 7541 §5.1).
    fn integer(&mut self, bits: u32) -> Option<usize> {
        let (first, mut rest) = self.rest.split_first()?;
        let most = (1usize << bits) - 1;
        let mut value = usize::from(*first) & most;
        if value == most {
            let mut shift = 0;
            loop {
                let (next, further) = rest.split_first()?;
                rest = further;
                let part = usize::from(next & 0x7f).checked_shl(shift).filter(|_| shift < 32)?;
                value = value.checked_add(part)?;
                shift += 7;
                if next & 0x80 == 0 {
                    break;
                }
            }
        }
        self.rest = rest;
        Some(value)
    }

    /// A string with its length in the last `bits` of the next byte (RFC 7541 §5.2), as it is coded.
    fn string(&mut self, bits: u32) -> Option<&'a [u8]> {
        let length = self.integer(bits)?;
        let (string, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(string)
    }
}

/// The name at an index of the static table (RFC 9204 appendix A).
fn of_static(index: usize) -> Name {
    match index {
        0 => Name::Pseudo(Pseudo::Authority),
        1 => Name::Pseudo(Pseudo::Path),
        15..=21 => Name::Pseudo(Pseudo::Method),
        22 | 23 => Name::Pseudo(Pseudo::Scheme),
        24..=28 | 63..=71 => Name::Wrong,
        _ => Name::Plain,
    }
}

fn of_literal(name: &[u8], is_coded: bool) -> Name {
    let begins = match (is_coded, name.first()) {
        (false, Some(first)) => *first == b':',
        // The code of `:` has seven bits, and no other begins with them.
        (true, Some(first)) => first >> 1 == 0b101_1100,
        (_, None) => false,
    };
    if !begins {
        return Name::Plain;
    }
    let decoded = is_coded.then(|| decoded(name));
    match decoded.as_deref().unwrap_or(name) {
        b":authority" => Name::Pseudo(Pseudo::Authority),
        b":path" => Name::Pseudo(Pseudo::Path),
        b":method" => Name::Pseudo(Pseudo::Method),
        b":scheme" => Name::Pseudo(Pseudo::Scheme),
        _ => Name::Wrong,
    }
}

/// The codes of what the names of pseudo-header fields are made of (RFC 7541 appendix B), with their lengths.
const CODES: [(u8, u32, u32); 15] = [
    (b':', 0b101_1100, 7),
    (b'a', 0b0_0011, 5),
    (b'c', 0b0_0100, 5),
    (b'd', 0b10_0100, 6),
    (b'e', 0b0_0101, 5),
    (b'h', 0b10_0111, 6),
    (b'i', 0b0_0110, 5),
    (b'm', 0b10_1001, 6),
    (b'o', 0b0_0111, 5),
    (b'p', 0b10_1011, 6),
    (b'r', 0b10_1100, 6),
    (b's', 0b0_1000, 5),
    (b't', 0b0_1001, 5),
    (b'u', 0b10_1101, 6),
    (b'y', 0b111_1010, 7),
];

/// A name that is coded by Huffman's codes, as far as it has these letters.
fn decoded(coded: &[u8]) -> Vec<u8> {
    let bit = |at: usize| coded.get(at / 8).map_or(1, |byte| u32::from(byte >> (7 - at % 8) & 1));
    let (mut at, mut name) = (0, Vec::new());
    while at < coded.len() * 8 {
        let is_next = |length: u32, code: u32| {
            (0..length).fold(0, |bits, step| bits << 1 | bit(at + step as usize)) == code
        };
        let found = CODES.iter().find(|(_, code, length)| is_next(*length, *code));
        let Some((letter, _, length)) = found else { break };
        name.push(*letter);
        at += *length as usize;
    }
    // Less than a byte of ones fills up the last one (RFC 7541 §5.2).
    let rest = at..coded.len() * 8;
    if rest.len() >= 8 || rest.clone().any(|at| bit(at) == 0) {
        name.push(0);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A field section of these lines.
    fn block(lines: &[&[u8]]) -> Vec<u8> {
        [&[0, 0][..], &lines.concat()].concat()
    }

    fn literal(name: &str) -> Vec<u8> {
        [&[0x20 | name.len().min(6) as u8][..], name.as_bytes(), b"\x01x"].concat()
    }

    /// By its codes.
    fn coded(name: &str) -> Vec<u8> {
        let (mut bits, mut count, mut out) = (0u64, 0, Vec::new());
        for letter in name.bytes() {
            let (_, code, length) = CODES.iter().find(|(of, ..)| *of == letter).expect("a letter");
            bits = bits << length | u64::from(*code);
            count += length;
            while count >= 8 {
                count -= 8;
                out.push((bits >> count) as u8);
                bits &= (1 << count) - 1;
            }
        }
        if count > 0 {
            out.push((bits << (8 - count)) as u8 | (0xff >> count));
        }
        let mut line = vec![0x28 | out.len().min(7) as u8];
        if out.len() >= 7 {
            line.push(out.len() as u8 - 7);
        }
        [line, out, b"\x01x".to_vec()].concat()
    }

    const GET: &[u8] = &[0xc0 | 17];
    const POST: &[u8] = &[0xc0 | 20];
    const HTTPS: &[u8] = &[0xc0 | 23];
    const ROOT: &[u8] = &[0xc0 | 1];
    const AUTHORITY: &[u8] = b"\x50\x06a.test";
    const ACCEPT: &[u8] = &[0xc0 | 29];
    const STATUS_200: &[u8] = &[0xc0 | 25];

    #[test]
    fn a_request_has_its_pseudo_fields_once_and_first() {
        let good: [&[&[u8]]; 4] = [
            &[GET, HTTPS, AUTHORITY, ROOT, ACCEPT],
            &[ROOT, AUTHORITY, HTTPS, POST, ACCEPT, ACCEPT],
            &[GET, HTTPS, ROOT, &literal("host")],
            &[&literal(":path"), GET, HTTPS, &coded(":authority"), &coded("hostie")],
        ];
        for lines in good {
            assert_eq!(check(&block(lines)), Ok(()), "{lines:?}");
        }
        let bad: [&[&[u8]]; 9] = [
            &[GET, GET, HTTPS, AUTHORITY, ROOT],
            &[GET, POST, HTTPS, AUTHORITY, ROOT],
            &[GET, HTTPS, AUTHORITY, ROOT, &literal(":path")],
            &[GET, HTTPS, AUTHORITY, ROOT, &coded(":path")],
            &[GET, HTTPS, AUTHORITY, ROOT, &coded(":method")],
            &[GET, HTTPS, AUTHORITY, ACCEPT, ROOT],
            &[GET, HTTPS, AUTHORITY, ROOT, STATUS_200],
            &[GET, HTTPS, AUTHORITY, ROOT, &literal(":odd")],
            &[GET, HTTPS, AUTHORITY, ROOT, &coded(":chimera")],
        ];
        for lines in bad {
            assert_eq!(check(&block(lines)), Err(Malformed), "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_some_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&bytes);
        }
    }
}
