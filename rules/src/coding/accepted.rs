//! Accept-Encoding (RFC 9110 §12.5.3).

use super::Coding;
use crate::vary::weight;
use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// Which codings a request accepts, and how much it wants each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedCodings {
    /// Whether there is an Accept-Encoding at all.
    is_present: bool,
    /// Weights in thousandths, by [`Coding::index`]; those not named have that of `*`, or else 0.
    weights: [u16; 3],
    /// The weight given to `identity`.
    identity: Option<u16>,
}

impl AcceptedCodings {
    /// Those of a client that names none.
    pub const NONE: Self = Self { is_present: true, weights: [0; 3], identity: None };

    /// Reads all lines together. Nothing in them is an error: what cannot be read is no wish.
    pub fn of(request: &HeaderMap) -> Self {
        let mut named: [Option<u16>; 3] = [None; 3];
        let (mut identity, mut rest, mut is_present) = (None, None, false);
        for line in request.get_all(ACCEPT_ENCODING) {
            is_present = true;
            for member in line.as_bytes().split(|&b| b == b',') {
                let (name, parameters) = split_once(member, b';');
                let name = name.trim_ascii();
                let slot = match (name, Coding::read(name)) {
                    (_, Some(coding)) => &mut named[coding.index()],
                    (b"*", None) => &mut rest,
                    _ if name.eq_ignore_ascii_case(b"identity") => &mut identity,
                    _ => continue,
                };
                // A weight that cannot be read is no wish for the coding.
                let weight = parameters.map_or(Some(1000), weight).unwrap_or(0);
                *slot = Some(slot.map_or(weight, |before| weight.max(before)));
            }
        }
        let weights = named.map(|named| named.or(rest).unwrap_or(0));
        Self { is_present, weights, identity }
    }

    /// Whether there is an Accept-Encoding at all. Without one any coding is acceptable, and none is asked for.
    pub fn is_present(&self) -> bool {
        self.is_present
    }

    /// Whether the client wants this coding: its weight is neither 0 nor below that given to `identity`.
    pub fn wants(&self, coding: Coding) -> bool {
        self.weights[coding.index()] >= self.identity.unwrap_or(0).max(1)
    }

    /// Whether the client can read this coding: it named it, with whatever weight but 0.
    pub fn reads(&self, coding: Coding) -> bool {
        self.weights[coding.index()] > 0
    }

    /// The coding that the client gets of those that a site has, the site's most preferred one first: of those
    /// that the client wants most, the first.
    pub fn choose(&self, order: &[Coding]) -> Option<Coding> {
        let wanted = order.iter().copied().filter(|coding| self.wants(*coding));
        let weight = |coding: &Coding| self.weights[coding.index()];
        let best = wanted.clone().map(|coding| weight(&coding)).max()?;
        let mut wanted = wanted;
        wanted.find(|coding| weight(coding) == best)
    }
}

fn split_once(bytes: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(at, bytes) {
        Some(i) => (&bytes[..i], Some(&bytes[i + 1..])),
        None => (bytes, None),
    }
}
