//! The memory of everything outside the store (`memory.connections`), in one account: connections and the
//! streams on them, requests that wait, uploads, and bodies on their way to slow clients.
//!
//! Where the bytes are known they are counted. Where a library has them (hyper, h2, rustls, tokio), a cost
//! is charged that was measured: the costs below, which `weir-bars costs` compares with the RSS of the
//! program. Not in the account: what is stored and what is on its way into the store (both within
//! `memory.size`), files of the spool, what the kernel has, and requests at an upstream whose clients have
//! all left: those go on for the store, no more than `limits.origin_connections` of them.
//!
//! Whoever would pass the bound is refused before any work is done for it, or made to wait; what is already
//! under way is never ended for it. So the account may pass its bound by the pieces of bodies that are in
//! hand: one for each response, and what HTTP/2 connections have gathered and could not send.

use crate::byte_budget::{ByteBudget, NoRoom, Portion};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use weir_rules::client_share::Prefix;

/// Bytes of a connection that waits for a request: its task, its state, its socket's registration.
pub(crate) const CONNECTION_BYTES: u64 = 4 << 10;

/// What TLS needs beside: keys, and the buffers of records.
pub(crate) const TLS_BYTES: u64 = 16 << 10;

/// What an HTTP/2 connection needs beside: tables of headers, buffers of frames.
pub(crate) const HTTP2_BYTES: u64 = 20 << 10;

/// What a connection over QUIC needs beside, with HTTP/3 on it.
#[cfg(feature = "http3")]
pub(crate) const HTTP3_BYTES: u64 = 40 << 10;

/// What it needs more while it is at work: bytes that were sent and are not acknowledged, at most.
#[cfg(feature = "http3")]
pub(crate) const HTTP3_WORK_BYTES: u64 = 256 << 10;

/// A stream of an HTTP/2 or HTTP/3 connection, before its request is worked on.
pub(crate) const STREAM_BYTES: u64 = 3 << 10;

/// A request that an upstream is asked for, beside its headers: itself, and the task that fetches.
pub(crate) const REQUEST_BYTES: u64 = 6 << 10;

/// What its connection needs beside while it is at work over HTTP/1.1, until it rests: the used part of two buffers,
/// and the parser's state.
pub(crate) const HTTP1_BYTES: u64 = 9 << 10;

/// The two buffers of a connection after an upgrade.
pub(crate) const UPGRADE_BYTES: u64 = 16 << 10;

/// The least and the most that is charged for a body in hand: what libraries read before it is taken.
const UPLOAD_BYTES: (u64, u64) = (4 << 10, 64 << 10);

/// What memory is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// A connection.
    Connection,
    /// Another protocol on it: HTTP/2, or what an upgrade switches to.
    Protocol,
    /// A stream of an HTTP/2 connection.
    Stream,
    /// A request that an upstream is to answer.
    Request,
    /// The body of a request.
    Upload,
}

/// Words for them in metrics, in their order.
pub(crate) const USES: [&str; 5] = ["connection", "protocol", "stream", "request", "upload"];

/// See the module.
#[derive(Debug)]
pub(crate) struct MemoryAccount {
    budget: Arc<ByteBudget>,
    refused: [AtomicU64; USES.len()],
}

/// Bytes of the account; given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    portion: Portion,
}

impl MemoryAccount {
    /// An account of so many bytes.
    pub(crate) fn new(bound: u64) -> Arc<Self> {
        Arc::new(Self { budget: Arc::new(ByteBudget::new(bound)), refused: Default::default() })
    }

    /// Takes bytes; `None` where that would pass the bound.
    pub(crate) fn take(&self, bytes: u64) -> Option<Charge> {
        self.take_for(None, bytes).ok()
    }

    /// The same for a client, which gets a share of the whole.
    fn take_for(&self, client: Option<Prefix>, bytes: u64) -> Result<Charge, NoRoom> {
        let mut portion = Portion::of(&self.budget, client);
        portion.take(bytes).map(|()| Charge { portion })
    }

    /// Takes bytes whatever the bound: they are already in use, or others are about to be given back.
    pub(crate) fn take_anyway(&self, bytes: u64) -> Charge {
        let mut portion = Portion::of(&self.budget, None);
        portion.take_anyway(bytes);
        Charge { portion }
    }

    /// Takes what the body of a request may need, of a client that has announced `length` bytes. What is kept
    /// for another try is `kept` of them.
    ///
    /// # Errors
    /// There is no room, or the client has too large a share.
    pub(crate) fn upload(
        &self,
        client: Option<Prefix>,
        length: Option<u64>,
        kept: u64,
    ) -> Result<Charge, NoRoom> {
        let (least, most) = UPLOAD_BYTES;
        let in_hand = length.unwrap_or(u64::MAX).clamp(least, most);
        let charge = self.take_for(client, in_hand + length.unwrap_or(u64::MAX).min(kept));
        charge.inspect_err(|_| self.refuse(Use::Upload))
    }

    /// Counts what was refused.
    pub(crate) fn refuse(&self, what: Use) {
        self.refused[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// What bodies on their way to slow clients take from.
    pub(crate) fn budget(&self) -> &Arc<ByteBudget> {
        &self.budget
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> u64 {
        self.budget.used()
    }

    /// Bytes there are.
    pub(crate) fn bound(&self) -> u64 {
        self.budget.bound()
    }

    /// Whether so many bytes more would pass the bound.
    pub(crate) fn lacks(&self, bytes: u64) -> bool {
        self.used().saturating_add(bytes) > self.bound()
    }

    /// How often each [use](USES) was refused.
    pub(crate) fn refusals(&self) -> [u64; USES.len()] {
        std::array::from_fn(|at| self.refused[at].load(Ordering::Relaxed))
    }
}

impl Charge {
    /// Takes more; `false`, and nothing taken, where that would pass the bound.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        self.portion.take(bytes).is_ok()
    }

    /// Takes more whatever the bound: it is already in use.
    pub(crate) fn grow_anyway(&mut self, bytes: u64) {
        self.portion.take_anyway(bytes);
    }

    /// Gives some back.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        self.portion.give_back(bytes);
    }
}

/// The bytes of a request's headers in memory: each name, each value, and its entry in the map.
pub(crate) fn header_bytes(headers: &http::HeaderMap) -> u64 {
    const ENTRY: usize = 104;
    let bytes = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        ENTRY + name.as_str().len() + value.len()
    };
    headers.iter().map(|field| bytes(field) as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passes_the_bound_but_what_is_in_use_already() {
        let account = MemoryAccount::new(100 << 10);
        let mut first = account.take(60 << 10);
        assert!(first.is_some() && account.take(41 << 10).is_none());
        assert!(account.lacks(41 << 10) && !account.lacks(40 << 10));
        let charge = first.as_mut().expect("taken");
        assert!(charge.grow(40 << 10) && !charge.grow(1));
        let over = account.take_anyway(5 << 10);
        assert_eq!(account.used(), 105 << 10);
        charge.shrink(10 << 10);
        assert!(account.take(5 << 10).is_some());
        drop((first, over));
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn a_small_upload_is_charged_little_and_an_endless_one_what_may_be_in_hand() {
        let account = MemoryAccount::new(1 << 20);
        let of = |length| {
            let charge = account.upload(None, length, 64 << 10);
            charge.ok().map(|_charge| account.used())
        };
        assert_eq!(of(Some(100)), Some((4 << 10) + 100));
        assert_eq!(of(Some(1 << 30)), Some(128 << 10));
        assert_eq!(of(None), Some(128 << 10));
    }

    #[test]
    fn refusals_are_counted_by_use() {
        let account = MemoryAccount::new(0);
        account.refuse(Use::Upload);
        account.refuse(Use::Connection);
        account.refuse(Use::Upload);
        assert_eq!(account.refusals(), [1, 0, 0, 0, 2]);
    }
}
