//! Compressing and decompressing, with a bound on what comes out.

use flate2::Compression;
use flate2::write::{GzEncoder, MultiGzDecoder};
use std::io::{self, Read, Write};
use weir_rules::coding::Coding;

/// The window of brotli: as large as the body, at most 4 MiB (RFC 7932 §9.1 allows 16 MiB).
const BR_WINDOW: std::ops::RangeInclusive<u32> = 16..=22;

/// The largest window of zstd that is read: what RFC 9659 has decoders take.
const ZSTD_WINDOW: u32 = 23;

/// Compresses a body of `length` bytes, which comes in runs. `None` if more than `most` bytes would come out, or
/// if it cannot be compressed.
pub(crate) fn encode<'a>(
    coding: Coding,
    level: u32,
    runs: impl Iterator<Item = &'a [u8]>,
    length: u64,
    most: usize,
) -> Option<Vec<u8>> {
    let sink = Sink { out: Vec::with_capacity(most.min(length as usize / 3)), most };
    let encoded = match coding {
        Coding::Gzip => gzip(sink, level, runs),
        Coding::Br => br(sink, level, runs, length),
        Coding::Zstd => zstd(sink, level, runs, length),
    };
    encoded.ok()
}

fn gzip<'a>(sink: Sink, level: u32, runs: impl Iterator<Item = &'a [u8]>) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(sink, Compression::new(level));
    for run in runs {
        encoder.write_all(run)?;
    }
    Ok(encoder.finish()?.out)
}

fn br<'a>(
    mut sink: Sink,
    level: u32,
    runs: impl Iterator<Item = &'a [u8]>,
    length: u64,
) -> io::Result<Vec<u8>> {
    let window = length.max(2).next_power_of_two().ilog2();
    let parameters = brotli::enc::BrotliEncoderParams {
        quality: level as i32,
        lgwin: window.clamp(*BR_WINDOW.start(), *BR_WINDOW.end()) as i32,
        size_hint: length as usize,
        ..Default::default()
    };
    brotli::BrotliCompress(&mut Runs { runs, rest: &[] }, &mut sink, &parameters)?;
    Ok(sink.out)
}

fn zstd<'a>(
    sink: Sink,
    level: u32,
    runs: impl Iterator<Item = &'a [u8]>,
    length: u64,
) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(sink, level as i32)?;
    // The window is no larger than the body then.
    encoder.set_pledged_src_size(Some(length))?;
    for run in runs {
        encoder.write_all(run)?;
    }
    Ok(encoder.finish()?.out)
}

/// Runs of bytes, read as one.
struct Runs<'a, I> {
    runs: I,
    rest: &'a [u8],
}

impl<'a, I: Iterator<Item = &'a [u8]>> Read for Runs<'a, I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.runs.next() {
                Some(run) => self.rest = run,
                None => return Ok(0),
            }
        }
        self.rest.read(buffer)
    }
}

/// Takes so many bytes and no more.
#[derive(Debug)]
struct Sink {
    out: Vec<u8>,
    most: usize,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.out.len() + bytes.len() > self.most {
            return Err(io::Error::other("more bytes than may come out"));
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decompresses a body piece by piece.
pub(crate) struct Decoder(Format);

enum Format {
    Gzip(Box<MultiGzDecoder<Sink>>),
    Br(Box<brotli::DecompressorWriter<Sink>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Sink>>),
}

impl Decoder {
    /// A decoder of this coding; `None` if the library has no memory for it.
    pub(crate) fn new(coding: Coding) -> Option<Self> {
        const BUFFER: usize = 8 << 10;
        let sink = Sink { out: Vec::new(), most: 0 };
        Some(Self(match coding {
            Coding::Gzip => Format::Gzip(Box::new(MultiGzDecoder::new(sink))),
            Coding::Br => Format::Br(Box::new(brotli::DecompressorWriter::new(sink, BUFFER))),
            Coding::Zstd => {
                let mut decoder = zstd::stream::write::Decoder::new(sink).ok()?;
                decoder.window_log_max(ZSTD_WINDOW).ok()?;
                Format::Zstd(Box::new(decoder))
            }
        }))
    }

    /// Bytes that a decoder of this coding may take: its window, and what comes out of one piece.
    pub(crate) const fn bytes(coding: Coding) -> u64 {
        const MIB: u64 = 1 << 20;
        match coding {
            Coding::Gzip => MIB / 4,
            Coding::Br => 17 * MIB,
            Coding::Zstd => 9 * MIB,
        }
    }

    /// What comes out of this piece, of which at most `most` bytes may.
    ///
    /// # Errors
    /// More would come out, or the bytes are not of this coding.
    pub(crate) fn feed(&mut self, piece: &[u8], most: usize) -> io::Result<Vec<u8>> {
        self.sink().most = most;
        match &mut self.0 {
            Format::Gzip(decoder) => decoder.write_all(piece),
            Format::Br(decoder) => decoder.write_all(piece),
            Format::Zstd(decoder) => decoder.write_all(piece),
        }?;
        Ok(std::mem::take(&mut self.sink().out))
    }

    /// What is left at the end.
    ///
    /// # Errors
    /// More would come out than `most`, or the bytes ended too early.
    pub(crate) fn finish(&mut self, most: usize) -> io::Result<Vec<u8>> {
        self.sink().most = most;
        match &mut self.0 {
            Format::Gzip(decoder) => decoder.try_finish(),
            Format::Br(decoder) => decoder.close(),
            Format::Zstd(decoder) => decoder.flush(),
        }?;
        Ok(std::mem::take(&mut self.sink().out))
    }

    fn sink(&mut self) -> &mut Sink {
        match &mut self.0 {
            Format::Gzip(decoder) => decoder.get_mut(),
            Format::Br(decoder) => decoder.get_mut(),
            Format::Zstd(decoder) => decoder.get_mut(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(coding: Coding, coded: &[u8], piece: usize, most: usize) -> io::Result<Vec<u8>> {
        let mut decoder = Decoder::new(coding).unwrap();
        let mut out = Vec::new();
        for piece in coded.chunks(piece) {
            let more = decoder.feed(piece, most - out.len())?;
            out.extend(more);
        }
        out.extend(decoder.finish(most - out.len())?);
        Ok(out)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// What is compressed in any runs is read in any pieces, and is the same again each time.
        #[test]
        fn what_is_encoded_is_decoded(
            words in proptest::collection::vec("[a-z ]{1,12}", 0..400),
            run in 1usize..2000,
            piece in 1usize..500,
            faster in any::<bool>(),
        ) {
            let text = words.concat().into_bytes();
            for coding in Coding::ALL {
                let levels = coding.levels();
                let level = if faster { *levels.start() } else { *levels.start() + 4 };
                let made = || encode(coding, level, text.chunks(run), text.len() as u64, 1 << 20);
                let coded = made().unwrap();
                prop_assert_eq!(&made().unwrap(), &coded, "the same bytes under the same tag");
                prop_assert_eq!(decode(coding, &coded, piece, 1 << 20).unwrap(), text.clone());
            }
        }

        /// No bytes make a decoder panic, or give more than the bound.
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for coding in Coding::ALL {
                if let Ok(out) = decode(coding, &bytes, 7, 1000) {
                    prop_assert!(out.len() <= 1000);
                }
            }
        }
    }

    #[test]
    fn more_than_may_come_out_does_not() {
        let zeros = vec![0; 1 << 20];
        for coding in Coding::ALL {
            let level = *coding.levels().start() + 2;
            let coded = encode(coding, level, zeros.chunks(4096), zeros.len() as u64, 1 << 20);
            let coded = coded.unwrap();
            assert!(coded.len() < 20_000, "{coding:?}: {}", coded.len());
            assert!(decode(coding, &coded, 16, 1 << 20).is_ok());
            assert!(decode(coding, &coded, 16, (1 << 20) - 1).is_err(), "{coding:?}");
            assert!(
                decode(coding, &coded[..coded.len() / 2], 16, 1 << 20)
                    .map_or(true, |out| out.len() < 1 << 20)
            );
            assert!(encode(coding, level, zeros.chunks(4096), zeros.len() as u64, 8).is_none());
        }
    }
}
