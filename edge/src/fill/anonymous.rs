//! The answer to an anonymous request for a static asset: for everyone, or for nobody.

use super::task::FillTask;
use crate::collapsing::{Answer, FillHead, Keeping};
use crate::decisions::Why;
use http::{StatusCode, header};
use weir_rules::assets::is_for_everyone;
use weir_rules::storability::Reason;

impl FillTask {
    /// Whether the answer must be neither stored nor sent: the request was made anonymous, and this
    /// is not a response for everyone. An origin's bad moment (5xx, 429) is sent: asking again, with
    /// all headers, would make it worse.
    pub(super) fn is_withheld(&self, head: &FillHead) -> bool {
        let target = &self.context.ask.target;
        let terms = head.terms.as_ref().ok();
        self.context.anonymous
            && !is_bad_moment(head.status)
            && !is_for_everyone(target.path(), target.query(), head.status, &head.fields, terms)
    }

    /// Lets an answer to an anonymous request that is sent although it is not for everyone go no
    /// further than that: it is not stored, and what it says to an anonymous client about its
    /// cookies is not for this one.
    pub(super) fn confine(&self, head: &mut FillHead) {
        if self.context.anonymous && is_bad_moment(head.status) {
            head.fields.remove(header::SET_COOKIE);
            head.terms = Err(Reason::Status(head.status));
            head.keeping = Keeping::Pass(Why::Rule(Reason::Status(head.status)));
        }
    }

    /// Ends the fill without a response: whoever waits asks in another way. Dropping the body ends
    /// the upstream's work.
    pub(super) fn withhold(self: Box<Self>, head: FillHead) {
        self.context.note(Why::NotForEveryone(head.status), Some(head.status));
        self.withdraw(&head);
        self.context.state.inflight.leave(self.context.digest, &self.fill);
        self.fill.begin(Answer::NotForEveryone(head.source), &[], true);
        self.fill.finish(None);
    }
}

fn is_bad_moment(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}
