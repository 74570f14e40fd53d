//! What one connection has of `memory.connections`.

use crate::memory::{
    CONNECTION_BYTES, Charge, HTTP1_BYTES, HTTP2_BYTES, MemoryAccount, STREAM_BYTES, TLS_BYTES, Use,
};
#[cfg(feature = "http3")]
use crate::memory::{HTTP3_BYTES, HTTP3_WORK_BYTES};
use std::sync::Arc;

/// Streams that are taken from the account at once: most connections have few.
const STREAMS: u32 = 8;

/// See the module. Given back when this is dropped.
#[derive(Debug)]
pub(super) struct ConnectionCharge {
    account: Arc<MemoryAccount>,
    charge: Charge,
    /// Streams that are paid for, and those that run.
    paid: u32,
    running: u32,
    /// Bytes of what could not be sent yet.
    output: u64,
    /// Whether what is at work over HTTP/1, or over HTTP/3, is paid for.
    works: bool,
}

impl ConnectionCharge {
    /// What a connection needs before its first request; `None` if there is no room.
    pub(super) fn take(account: &Arc<MemoryAccount>) -> Option<Self> {
        let charge = account.take(CONNECTION_BYTES)?;
        Some(Self::of(account, charge))
    }

    /// The same, in place of a connection that is about to close.
    pub(super) fn take_anyway(account: &Arc<MemoryAccount>) -> Self {
        Self::of(account, account.take_anyway(CONNECTION_BYTES))
    }

    fn of(account: &Arc<MemoryAccount>, charge: Charge) -> Self {
        Self { account: Arc::clone(account), charge, paid: 0, running: 0, output: 0, works: false }
    }

    /// The connection uses TLS; whether there is room.
    pub(super) fn begin_tls(&mut self) -> bool {
        self.more(TLS_BYTES, Use::Protocol)
    }

    /// The connection uses HTTP/2; whether there is room.
    pub(super) fn begin_http2(&mut self) -> bool {
        self.more(HTTP2_BYTES, Use::Protocol)
    }

    /// The connection uses HTTP/3; whether there is room.
    #[cfg(feature = "http3")]
    pub(super) fn begin_http3(&mut self) -> bool {
        self.more(HTTP3_BYTES, Use::Protocol)
    }

    /// A stream of HTTP/3 begins, like [`ConnectionCharge::begin_stream`], and with the first one what may wait to be
    /// acknowledged.
    #[cfg(feature = "http3")]
    pub(super) fn begin_http3_stream(&mut self) -> bool {
        let fits = self.begin_stream();
        self.works = self.works || (fits && self.more(HTTP3_WORK_BYTES, Use::Stream));
        fits && self.works
    }

    /// Gives back what waits to be acknowledged, once no stream runs.
    #[cfg(feature = "http3")]
    pub(super) fn settle_http3(&mut self) {
        if self.running == 0 && std::mem::take(&mut self.works) {
            self.charge.shrink(HTTP3_WORK_BYTES);
        }
    }

    /// A request over HTTP/1 goes to an upstream; whether there is room for what it needs here. That is kept for the
    /// next one until [`ConnectionCharge::rest`].
    pub(super) fn begin_work(&mut self) -> bool {
        self.works = self.works || self.more(HTTP1_BYTES, Use::Request);
        self.works
    }

    /// The connection rests.
    pub(super) fn rest(&mut self) {
        if std::mem::take(&mut self.works) {
            self.charge.shrink(HTTP1_BYTES);
        }
    }

    /// It has rested while a request waited, which is answered now, whether or not there is room.
    pub(super) fn resume(&mut self) {
        if !std::mem::replace(&mut self.works, true) {
            self.charge.grow_anyway(HTTP1_BYTES);
        }
    }

    /// A stream begins; whether there is room. What one took is kept for the next until
    /// [`ConnectionCharge::settle`].
    pub(super) fn begin_stream(&mut self) -> bool {
        self.running += 1;
        if self.running <= self.paid {
            return true;
        }
        let fits = self.more(u64::from(STREAMS) * STREAM_BYTES, Use::Stream);
        self.paid += if fits { STREAMS } else { 0 };
        fits
    }

    /// A stream ended.
    pub(super) fn end_stream(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Gives back what streams took that have ended.
    pub(super) fn settle(&mut self) {
        let needed = self.running.next_multiple_of(STREAMS);
        let spare = self.paid.saturating_sub(needed);
        self.paid -= spare;
        self.charge.shrink(u64::from(spare) * STREAM_BYTES);
    }

    /// So many bytes are kept of what could not be sent yet, whether or not there is room: nothing that runs is
    /// ended for them.
    #[inline]
    pub(super) fn keep_output(&mut self, bytes: u64) {
        if bytes != self.output {
            self.charge.grow_anyway(bytes.saturating_sub(self.output));
            self.charge.shrink(self.output.saturating_sub(bytes));
            self.output = bytes;
        }
    }

    fn more(&mut self, bytes: u64, what: Use) -> bool {
        let fits = self.charge.grow(bytes);
        if !fits {
            self.account.refuse(what);
        }
        fits
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_paid_for_until_they_have_ended() {
        let bytes = CONNECTION_BYTES + HTTP2_BYTES + 16 * STREAM_BYTES;
        let account = MemoryAccount::new(bytes);
        let mut charge = ConnectionCharge::take(&account).unwrap();
        assert!(charge.begin_http2());
        assert!((0..16).all(|_| charge.begin_stream()));
        assert_eq!(account.used(), bytes);
        assert!(!charge.begin_stream());
        charge.end_stream();
        charge.settle();
        assert_eq!(account.used(), bytes, "sixteen run");
        (0..9).for_each(|_| charge.end_stream());
        charge.settle();
        assert_eq!(account.used(), bytes - 8 * STREAM_BYTES, "seven run");
        assert!(charge.begin_stream(), "it was paid for");
        assert!(charge.begin_tls() && !charge.begin_tls(), "there is room for one");
        assert_eq!(account.refusals(), [0, 1, 1, 0, 0]);
        drop(charge);
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn work_over_http1_is_paid_for_until_the_connection_rests() {
        let account = MemoryAccount::new(CONNECTION_BYTES + HTTP1_BYTES);
        let mut charge = ConnectionCharge::take(&account).unwrap();
        assert!(charge.begin_work() && charge.begin_work(), "once");
        assert_eq!(account.used(), CONNECTION_BYTES + HTTP1_BYTES);
        charge.rest();
        charge.rest();
        assert_eq!(account.used(), CONNECTION_BYTES);
        let other = account.take(1);
        assert!(!charge.begin_work());
        assert_eq!(account.refusals(), [0, 0, 0, 1, 0]);
        charge.resume();
        assert_eq!(
            account.used(),
            CONNECTION_BYTES + HTTP1_BYTES + 1,
            "it is answered all the same"
        );
        drop((charge, other));
        assert_eq!(account.used(), 0);
    }

    #[cfg(feature = "http3")]
    #[test]
    fn work_over_http3_is_paid_for_while_a_stream_runs() {
        let bytes = CONNECTION_BYTES + HTTP3_BYTES;
        let account = MemoryAccount::new(bytes + 8 * STREAM_BYTES + HTTP3_WORK_BYTES);
        let mut charge = ConnectionCharge::take(&account).unwrap();
        assert!(charge.begin_http3());
        assert!(
            (0..8).all(|_| charge.begin_http3_stream()),
            "what waits to be acknowledged counts once"
        );
        assert_eq!(account.used(), account.bound());
        assert!(!charge.begin_http3_stream());
        (0..9).for_each(|_| charge.end_stream());
        charge.settle();
        charge.settle_http3();
        assert_eq!(account.used(), bytes);
        let other = account.take(8 * STREAM_BYTES + 1);
        assert!(!charge.begin_http3_stream(), "there is no room for what it needs to work");
        assert_eq!(account.refusals(), [0, 0, 2, 0, 0]);
        drop((charge, other));
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn what_could_not_be_sent_is_charged_whatever_the_bound() {
        let account = MemoryAccount::new(CONNECTION_BYTES);
        let mut charge = ConnectionCharge::take(&account).unwrap();
        charge.keep_output(100);
        charge.keep_output(100);
        assert_eq!(account.used(), CONNECTION_BYTES + 100);
        charge.keep_output(40);
        assert_eq!(account.used(), CONNECTION_BYTES + 40);
        charge.keep_output(0);
        assert_eq!(account.used(), CONNECTION_BYTES);
    }
}
