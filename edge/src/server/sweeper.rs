//! One coarse timer a worker in place of timers for every request. It walks the worker's
//! connections and finds those whose client is too slow, or that nobody uses.

use super::connection::{Connection, LAST_REQUEST, Order, Protocol};
use super::worker::Worker;
use crate::release_memory::release_memory;
use std::rc::Rc;
use std::time::{Duration, Instant};
use weir_config::Limits;

/// Ticks come at least this often: a timeout is late by at most two of them.
const SLOWEST_TICK: Duration = Duration::from_millis(500);
const FASTEST_TICK: Duration = Duration::from_millis(10);

/// A client to which nothing has gone for so long waits.
const WAITING: Duration = Duration::from_millis(200);

/// A connection that was idle, or waited for an answer, for so long is likely to do so for longer.
const RESTS_AFTER: Duration = Duration::from_secs(1);

/// How often a worker gives free memory back.
const RELEASE_EVERY: Duration = Duration::from_secs(2);

/// Runs for as long as the worker does.
pub(super) async fn sweep(worker: Rc<Worker>) {
    let mut released = Instant::now();
    loop {
        let tick = tick_of(&worker.limits());
        tokio::time::sleep(tick).await;
        if released.elapsed() >= RELEASE_EVERY {
            release_memory();
            released = Instant::now();
        }
        worker.tick();
        let limits = worker.limits();
        // What happened since the last tick was noted with that tick's time: a whole tick is
        // granted, so that nobody is cut too early.
        let now = worker.now().saturating_sub(tick.as_millis() as u64);
        worker.each(|connection| {
            if let Some(order) = judge(connection, &limits, now) {
                connection.order(order);
            }
        });
    }
}

/// A quarter of the shortest timeout, within bounds.
fn tick_of(limits: &Limits) -> Duration {
    let shortest = limits.idle.min(limits.header_timeout).min(limits.slow_client);
    (shortest / 4).clamp(FASTEST_TICK, SLOWEST_TICK)
}

/// What is due for a connection; `Order::None` only wakes it, so that its next read finds itself
/// overdue. (That read decides: had the client sent something meanwhile, it is not too late.)
fn judge(connection: &Connection, limits: &Limits, now: u64) -> Option<Order> {
    let late = |since: u64, bound: Duration| Duration::from_millis(now - since.min(now)) >= bound;
    let is_http1 = connection.protocol() == Protocol::Http1;
    let mut wire = connection.wire.borrow_mut();
    if wire.outgoing.blocked && late(wire.outgoing.progress, limits.slow_client) {
        return Some(Order::Abort);
    }
    connection.memory.borrow_mut().settle();
    #[cfg(feature = "http3")]
    if connection.protocol() == Protocol::Http3 {
        connection.memory.borrow_mut().settle_http3();
    }
    if connection.upgraded() {
        return None;
    }
    if connection.running.get() > 0 {
        // A client that closes its side while it waits has given up, as proxies take it; one that
        // is taking an answer may be one that has nothing more to ask.
        let waits = late(wire.outgoing.progress.max(wire.incoming.progress), WAITING);
        if wire.transport.is_reset() || (waits && wire.transport.is_closed_by_client()) {
            return Some(Order::Abort);
        }
        if wire.awaits_body() && late(wire.incoming.progress, limits.slow_client) {
            wire.set_overdue();
            return Some(Order::None);
        }
        let rests =
            is_http1 && late(wire.outgoing.progress.max(wire.incoming.progress), RESTS_AFTER);
        drop(wire);
        if rests {
            connection.rest();
        }
        // A client that takes nothing of anything is not served on.
        let stalled = connection.streams.abort_stalled(now, limits.slow_client);
        return stalled.then_some(Order::Abort);
    }
    let idle_since = connection.idle_since.get();
    if let Some(since) = wire.head_since() {
        if late(since.max(idle_since), limits.header_timeout) {
            wire.set_overdue();
            return Some(Order::None);
        }
        return None;
    }
    if connection.ordered() == Order::Finish && (is_http1 || !connection.has_asked()) {
        return late(idle_since, LAST_REQUEST).then_some(Order::Abort);
    }
    if !late(idle_since, limits.idle) {
        drop(wire);
        if is_http1 && late(idle_since, RESTS_AFTER) {
            connection.rest();
        }
        return None;
    }
    // A client of HTTP/2 or HTTP/3 is told first (GOAWAY), and cut when it takes no notice.
    let told = is_http1 || connection.ordered() == Order::Finish;
    Some(if told { Order::Abort } else { Order::Finish })
}
