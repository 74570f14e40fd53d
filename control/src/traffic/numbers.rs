//! Numbers in few bytes: base 128, the low digits first; every byte but the last of a number has its
//! high bit set.

/// Adds a number.
pub(super) fn write(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number from the front; `None` where there is none.
pub(super) fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let digit = u64::from(byte & 0x7f);
        if digit << shift >> shift != digit {
            return None;
        }
        number |= digit << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Adds bytes, and how many they are.
pub(super) fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Takes bytes that [`write_bytes`] added.
pub(super) fn read_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(read(bytes)?).ok()?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Takes a text that [`write_bytes`] added.
pub(super) fn read_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(read_bytes(bytes)?).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_number_is_refused() {
        for wrong in [&[][..], &[0x80], &[0xff; 9], &[0xff; 11]] {
            assert_eq!(read(&mut &*wrong), None, "{wrong:?}");
        }
        // Beyond 64 bits.
        let mut beyond = [0x80; 10];
        beyond[9] = 2;
        assert_eq!(read(&mut &beyond[..]), None);
        assert_eq!(read_bytes(&mut &[3, 1, 2][..]), None);
    }

    proptest! {
        #[test]
        fn numbers_and_bytes_come_back(numbers: Vec<u64>, text: String) {
            let mut written = Vec::new();
            numbers.iter().for_each(|number| write(*number, &mut written));
            write_bytes(text.as_bytes(), &mut written);
            let mut rest = &*written;
            for number in numbers {
                prop_assert_eq!(read(&mut rest), Some(number));
            }
            prop_assert_eq!(read_text(&mut rest), Some(&*text));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let mut rest = &*bytes;
            while !rest.is_empty() && read(&mut rest).is_some() {}
        }
    }
}
