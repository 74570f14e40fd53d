//! Requests at a site that compresses: which form of a stored response they get.

use super::Spine;
use crate::body::ResponseBody;
use crate::byte_budget::NoRoom;
use crate::clock::wall;
use crate::coding::{self, CodingJob, Codings, DecodeLimits, DecodedBody, Decoder};
use crate::failure::{Failure, MEMORY_LIMIT};
use crate::memory::Use;
use crate::metrics::Event;
use crate::respond::{self, InForm, Wish};
use crate::store::Stored;
use http::{Method, Response};
use std::sync::Arc;
use weir_rules::coding::{Coding, Given};
use weir_rules::outcome::Outcome;
use weir_rules::time::Time;

impl Spine {
    /// Answers from a stored response, in the form that the client gets. One that is not made yet is asked for.
    pub(super) fn hit_in_form(
        &self,
        stored: &Arc<Stored>,
        (wish, codings): (&Wish<'_>, &Codings<'_>),
        now: Time,
        outcome: &mut Outcome,
    ) -> Response<ResponseBody> {
        let choice = coding::choose(stored, codings);
        if let Some(coding) = choice.wanted() {
            let job = CodingJob {
                digest: self.state.digest(stored.key()),
                stored: Arc::downgrade(stored),
                rules: Arc::clone(codings.rules),
                coding,
            };
            self.state.coding.ask(job, self.state.live.load().limits().compress_queue);
        }
        let mut special = (None, None);
        let response = self.hit_with(stored, now, outcome, |heads| {
            let InForm { response, coded, unread } =
                respond::from_stored_in(stored, heads, wish, &choice);
            special = (coded, unread);
            response
        });
        self.formed(InForm { response, coded: special.0, unread: special.1 }, wish, outcome)
    }

    /// Takes off the coding that the client cannot read, and notes what was done.
    pub(super) fn formed(
        &self,
        answer: InForm,
        wish: &Wish<'_>,
        outcome: &mut Outcome,
    ) -> Response<ResponseBody> {
        let InForm { response, coded, unread } = answer;
        if let Some(coding) = coded {
            outcome.coding = Some(Given::Coded(coding));
            self.metrics.count(Event::Compressed);
        }
        let Some(coding) = unread else { return response };
        if *wish.method == Method::HEAD {
            return response;
        }
        let Some(decoding) = self.decoding(coding) else {
            self.state.memory.refuse(Use::Request);
            outcome.detail = Some(MEMORY_LIMIT);
            return Failure::NoMemory(NoRoom::Budget).into_response(wall());
        };
        outcome.coding = Some(Given::Decoded);
        self.metrics.count(Event::Decompressed);
        respond::decode(response, decoding)
    }

    fn decoding(&self, coding: Coding) -> Option<DecodedBody> {
        let memory = self.state.memory.take(Decoder::bytes(coding))?;
        let live = self.state.live.load();
        let limits = live.limits();
        let limits =
            DecodeLimits { bytes: limits.decompress_bytes, ratio: limits.decompress_ratio };
        DecodedBody::new(coding, limits, memory)
    }
}
