//! Floors: what was filled below them is invalid, because purges that took it may be forgotten.

use super::kind::IndexKind;
use super::{Seq, Subject};
use std::sync::Arc;
use strum::{EnumCount, VariantArray};

/// A floor that rose, since purges had to be forgotten before all that is stored was held against
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaisedFloor {
    /// The site whose targets were forgotten; `None` for those of all sites.
    pub site: Option<Arc<str>>,
    /// Their kind: what no target of it could take is not invalid.
    pub kind: IndexKind,
    /// What was filled below it is invalid.
    pub seq: Seq,
}

/// The floors of one site, or of all sites; 0 for none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Floors([Seq; IndexKind::COUNT]);

impl Floors {
    /// A lower floor than before is ignored.
    pub(super) fn raise(&mut self, kind: IndexKind, seq: Seq) {
        let floor = &mut self.0[kind as usize];
        *floor = seq.max(*floor);
    }

    /// The highest of those over a response: of the kinds that could take it.
    pub(super) fn over(&self, subject: &Subject<'_>) -> Seq {
        let could = IndexKind::VARIANTS.iter().filter(|kind| kind.could_take(subject));
        could.map(|kind| self.0[*kind as usize]).max().unwrap_or_default()
    }

    /// The highest of them.
    pub(super) fn highest(&self) -> Seq {
        self.0.iter().copied().max().unwrap_or_default()
    }

    /// Forgets those below `seq`; whether any is left.
    pub(super) fn forget_below(&mut self, seq: Seq) -> bool {
        self.0.iter_mut().filter(|floor| **floor < seq).for_each(|floor| *floor = 0);
        self.highest() > 0
    }
}
