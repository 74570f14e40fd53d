//! A body that is decompressed as it goes to a client that cannot read its coding.

use super::Decoder;
use crate::memory::Charge;
use bytes::Bytes;
use weir_rules::coding::Coding;

/// Bytes that are fed to a decoder at once: what comes out of them is in memory at once.
const PIECE: usize = 512;

/// Bytes that may come out whatever went in: a ratio says something only of more.
const FREE: u64 = 1 << 20;

/// How much may come out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecodeLimits {
    /// Bytes (`limits.decompress_bytes`).
    pub(crate) bytes: u64,
    /// Times what went in, beyond the first MiB (`limits.decompress_ratio`).
    pub(crate) ratio: u64,
}

/// The decoding of one body.
pub(crate) struct DecodedBody {
    decoder: Decoder,
    limits: DecodeLimits,
    /// What came and was not decoded yet.
    rest: Bytes,
    taken: u64,
    given: u64,
    ended: bool,
    done: bool,
    _memory: Charge,
}

/// What comes next of a decoded body.
pub(crate) enum Next {
    /// These bytes.
    Bytes(Bytes),
    /// More is to be fed.
    Hungry,
    /// Nothing: it is complete.
    End,
}

impl DecodedBody {
    /// One that has taken no byte yet; `None` if the library has no memory for it.
    pub(crate) fn new(coding: Coding, limits: DecodeLimits, memory: Charge) -> Option<Self> {
        let decoder = Decoder::new(coding)?;
        let rest = Bytes::new();
        Some(Self {
            decoder,
            limits,
            rest,
            taken: 0,
            given: 0,
            ended: false,
            done: false,
            _memory: memory,
        })
    }

    /// Takes what came of the coded body.
    pub(crate) fn feed(&mut self, bytes: Bytes) {
        self.rest = bytes;
    }

    /// Takes the end of it.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// What comes out next.
    ///
    /// # Errors
    /// The limits are passed, or the bytes are not of this coding: why, for the log.
    pub(crate) fn next(&mut self) -> Result<Next, String> {
        while !self.rest.is_empty() {
            let piece = self.rest.split_to(PIECE.min(self.rest.len()));
            self.taken += piece.len() as u64;
            let most = self.most();
            let out = self.decoder.feed(&piece, most).map_err(|error| error.to_string())?;
            if let Some(out) = self.gives(out) {
                return Ok(Next::Bytes(out));
            }
        }
        if self.done {
            return Ok(Next::End);
        }
        if !self.ended {
            return Ok(Next::Hungry);
        }
        let most = self.most();
        self.done = true;
        let out = self.decoder.finish(most).map_err(|error| error.to_string())?;
        Ok(self.gives(out).map_or(Next::End, Next::Bytes))
    }

    fn most(&self) -> usize {
        let by_ratio = self.taken.saturating_mul(self.limits.ratio).max(FREE);
        usize::try_from(self.limits.bytes.min(by_ratio).saturating_sub(self.given))
            .unwrap_or(usize::MAX)
    }

    fn gives(&mut self, out: Vec<u8>) -> Option<Bytes> {
        self.given += out.len() as u64;
        (!out.is_empty()).then(|| out.into())
    }
}
