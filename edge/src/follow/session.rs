//! One connection to control, from hello to its end.

use super::answers::answer;
use super::attach::{Attachment, Linked, TicketAnswer, Tickets};
use super::follower::{Following, leaving};
use crate::relay::Relay;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use weir_protocol::frame::{FromControl, FromNode, Welcomed};
use weir_protocol::lines::{Lines, write_line};
use weir_rules::invalidation::Seq;
use weir_rules::lease::{Renewals, Spoken};
use weir_rules::log::Entry;
use weir_rules::relay::AppliedBehind;
use weir_rules::time::Time;

/// Lines that may wait to be written, acknowledgements and counts aside: those never wait in line.
const QUEUE: usize = 64;

/// Bytes of lines of edges behind this node that go together.
const BEHIND: usize = 64 << 10;

/// Questions of control under way at once.
const MOST_ASKED: usize = 16;

/// Counts in one line.
const MOST_COUNTS: usize = 1000;

/// Counts from before the connection that are told once more: control may not have got them.
const TOLD_AGAIN: u64 = 1000;

/// The part of the lease that an entry waits at most for what was purged before to be held against
/// what is stored.
const ROOM_PART: u32 = 4;

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The node left, or stops.
    Left,
    /// The node has something else to say in its hello.
    Again,
    /// The node leaves its relay for a nearer one.
    Nearer,
    /// Control does not take the node.
    Refused(String),
    /// The connection was lost, or of no use.
    Lost(String),
}

/// What the half that listens tells the half that speaks.
struct Outgoing {
    /// The seq up to which everything holds.
    acked: watch::Receiver<Seq>,
    /// Heartbeats so far.
    beats: watch::Receiver<u64>,
    /// Everything else.
    queue: mpsc::Receiver<FromNode>,
    /// What edges behind this node say; `None` if it is no relay.
    behind: Option<mpsc::Receiver<FromNode>>,
}

/// The same, from its other side.
struct OutgoingSender {
    /// The seq up to which everything holds, once that is durable.
    applied: watch::Sender<Seq>,
    beats: watch::Sender<u64>,
    queue: mpsc::Sender<FromNode>,
    /// Control's answers about relays.
    tickets: mpsc::Sender<TicketAnswer>,
}

/// What is known when the node and control begin to converse.
struct Course {
    renewals: Renewals,
    /// The seq from which on the node has what was promised in its name.
    caught_up_at: Seq,
    /// How long nothing may be heard.
    patience: Duration,
    /// How long the lease may not be renewed, through a relay: it may lag, or be cut off itself.
    lag: Option<Duration>,
}

/// The lines of control, and when the last of them was received.
struct Heard<R> {
    lines: Lines<R>,
    /// At first, when the node said hello.
    last: Time,
}

/// Follows control over `stream`, until that ends or the node stops; or until the node is attached to a
/// relay, if it has an `attachment`. What control asks is answered on `answers`; `joined` is called once
/// control has let the node in.
pub(super) async fn converse<S>(
    following: &Following,
    stream: S,
    stop: &mut watch::Receiver<bool>,
    answers: &Handle,
    joined: impl FnOnce(&Welcomed),
    attachment: Option<&mut Attachment>,
) -> Result<Linked, End>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    // Before the hello, which tells of the sites as they are then.
    let sites = following.state.moved.subscribe();
    let (read, mut write) = tokio::io::split(stream);
    let hello_at = following.state.now();
    *following.spoken() = Spoken::hello(hello_at);
    let mut heard = Heard { lines: Lines::new(read), last: hello_at };
    // By a node that is to leave as well: control expects it from its hello on, until it says so.
    let welcomed = welcome(following, &mut heard, &mut write).await?;
    let seq = following.applier.welcome(&welcomed).map_err(End::Lost)?;
    let head = welcomed.place.head;
    let mut renewals = Renewals::begin(seq);
    renew(following, renewals.named(head, hello_at));
    // The floor is raised where it must be: purges reach whatever is stored from now on.
    following.state.lease.admit();
    following.link.joined(head);
    if seq >= head {
        following.link.caught_up();
    }
    let patience = following.patience;
    let course = Course { renewals, caught_up_at: head, patience, lag: None };
    let began = || joined(&welcomed);
    let attaching = async move |control| match attachment {
        Some(attachment) => Ok(attachment.attach(following, control).await),
        None => std::future::pending().await,
    };
    talk(following, heard, write, (seq, course, sites), (stop, answers), began, attaching).await
}

/// Follows control through a relay to which the node was attached, until that ends, the node stops, or
/// goes to a nearer one of its `attachment`.
pub(super) async fn converse_through(
    following: &Following,
    linked: Linked,
    stop: &mut watch::Receiver<bool>,
    answers: &Handle,
    attachment: &mut Attachment,
) -> End {
    let sites = following.state.moved.subscribe();
    let Linked { relay, lines, write, shown_at } = linked;
    // Control has heard of this connection what the relay showed it.
    *following.spoken() = Spoken::hello(shown_at);
    let heard = Heard { lines, last: following.state.now() };
    let seq = following.state.purges.position().at();
    // Early enough to be back at control within the lease.
    let patience = following.patience / 2;
    let renewals = Renewals::begin(seq);
    let course = Course { renewals, caught_up_at: seq, patience, lag: Some(patience) };
    following.link.goes_through(Some(relay));
    let began = || {};
    let leaving = async move |_| {
        attachment.nearer(following).await;
        Err(End::Nearer)
    };
    let over =
        talk(following, heard, write, (seq, course, sites), (stop, answers), began, leaving).await;
    following.link.goes_through(None);
    // It is attached to none meanwhile.
    over.err().unwrap_or(End::Left)
}

/// Both halves of a connection on which the node was let in, from `seq` on; `moves` is how it comes to
/// go on by another one.
async fn talk<S>(
    following: &Following,
    heard: Heard<ReadHalf<S>>,
    write: WriteHalf<S>,
    (seq, course, mut sites): (Seq, Course, watch::Receiver<()>),
    (stop, answers): (&mut watch::Receiver<bool>, &Handle),
    began: impl FnOnce(),
    moves: impl AsyncFnOnce(Tickets) -> Result<Linked, End>,
) -> Result<Linked, End>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (applied, mut to_keep) = watch::channel(seq);
    let (acked, mut acks) = watch::channel(seq);
    match following.state.disk {
        Some(_) => to_keep.mark_changed(),
        None => acks.mark_changed(),
    }
    let (beats, beaten) = watch::channel(0);
    let (queue, queued) = mpsc::channel(QUEUE);
    let (tickets, given) = mpsc::channel(1);
    // Before the node says that it is ready: a purge by method may come at once.
    following.calls.open(queue.clone());
    let behind = following.state.relay.as_ref().map(|relay| relay.begin(seq));
    began();
    let due = course.caught_up_at;
    let control = Tickets { asked: queue.clone(), given, acked: acks.clone(), due };
    let mut moving = std::pin::pin!(moves(control));
    let tell = OutgoingSender { applied, beats, queue, tickets };
    let told = Outgoing { acked: acks, beats: beaten, queue: queued, behind };
    let end = tokio::select! {
        end = listen(following, heard, tell, answers, course) => Err(end),
        end = speak(following, write, told, stop) => Err(end),
        end = keep(following, to_keep, acked) => Err(end),
        // An error says that nothing can change any more.
        Ok(()) = sites.changed() => Err(End::Again),
        moved = &mut moving => moved,
    };
    if let Some(relay) = &following.state.relay {
        relay.end();
    }
    // Control ends this connection as soon as the node is attached, before the relay can say so.
    let end = match end {
        Err(End::Lost(reason)) => {
            let mut shown = following.shown.subscribe();
            let is_shown = *shown.borrow();
            tokio::select! {
                biased;
                moved = &mut moving, if is_shown => moved,
                _ = shown.wait_for(|shown| !*shown) => Err(End::Lost(reason)),
            }
        }
        end => end,
    };
    following.calls.close();
    if end.is_err() {
        following.link.parted();
    }
    end
}

/// Says hello and hears the answer.
async fn welcome<S: AsyncRead + AsyncWrite>(
    following: &Following,
    heard: &mut Heard<ReadHalf<S>>,
    write: &mut WriteHalf<S>,
) -> Result<Welcomed, End> {
    let hello = FromNode::Hello(following.hello());
    let mut out = Vec::new();
    put(&mut out, &hello)?;
    send(write, &mut out, following.patience).await?;
    match hear(following, heard, following.patience).await? {
        FromControl::Welcome(welcomed) => Ok(welcomed),
        FromControl::Refused { reason, temporary } => Err(refused(reason, temporary)),
        other => Err(End::Lost(format!("control began with {other:?}"))),
    }
}

/// Takes what control says, until the connection ends.
async fn listen<S: AsyncRead + AsyncWrite>(
    following: &Following,
    mut heard: Heard<ReadHalf<S>>,
    tell: OutgoingSender,
    answers: &Handle,
    course: Course,
) -> End {
    let Course { mut renewals, caught_up_at, patience, lag } = course;
    let mut asked = JoinSet::new();
    let mut renewed_at = heard.last;
    loop {
        let line = match hear(following, &mut heard, patience).await {
            Ok(line) => line,
            Err(end) => return end,
        };
        match line {
            FromControl::Entry(entry) => {
                following.link.extend(entry.seq);
                following.applier.make_room(&entry, following.patience / ROOM_PART).await;
                let line = following.state.relay.as_ref().map(|_| passed_on(&entry));
                match following.applier.take(entry) {
                    Ok(seq) => {
                        if let (Some(relay), Some(line)) = (&following.state.relay, line) {
                            // Applied here first: no edge asks a parent that lacks what it has.
                            relay.applied(seq, &line);
                        }
                        let renewed = renewals.applied(seq);
                        if renewed.is_some() {
                            renewed_at = heard.last;
                        }
                        renew(following, renewed);
                        if seq >= caught_up_at {
                            following.link.caught_up();
                        }
                        tell.applied.send_replace(seq);
                    }
                    Err(gap) => return End::Lost(gap),
                }
            }
            FromControl::Remember { seq } => {
                let own = following.state.purges.standing().own(seq);
                following.state.popular.expect(own);
                if let Some(relay) = &following.state.relay {
                    relay.before_entry(&written(&FromControl::Remember { seq }));
                }
            }
            FromControl::Heartbeat { head, heard: count, retention } => {
                if let (Some(entries), Some(disk)) = (retention, &following.state.disk) {
                    disk.hear_retention(entries);
                }
                let said = match count {
                    Some(count) => following.spoken().heard(count),
                    // Of an older control, which relies on no lease.
                    None => Some(heard.last),
                };
                let Some(said) = said else {
                    return End::Lost("control has heard what was not said".to_owned());
                };
                if let Some(head) = head {
                    let renewed = renewals.named(head, said);
                    if renewed.is_some() {
                        renewed_at = heard.last;
                    }
                    renew(following, renewed);
                    following.link.extend(head);
                }
                let since = u128::from(heard.last.millis_since(renewed_at));
                if lag.is_some_and(|lag| since > lag.as_millis()) {
                    return End::Lost("the relay lags behind control".to_owned());
                }
                tell.beats.send_modify(|beats| *beats += 1);
            }
            FromControl::Ask { ask, what } => {
                while asked.try_join_next().is_some() {}
                if asked.len() >= MOST_ASKED {
                    let result = Err("the node is busy with other questions".to_owned());
                    if tell.queue.try_send(FromNode::Answer { ask, result }).is_err() {
                        return End::Lost(
                            "control does not read the answers to its questions".to_owned(),
                        );
                    }
                    continue;
                }
                let (state, queue) = (Arc::clone(&following.state), tell.queue.clone());
                let warmer = Arc::clone(&following.warmer);
                let answering = async move {
                    let result = match what {
                        Ok(what) => answer(state, warmer, what).await,
                        Err(reason) => Err(unreadable(&reason)),
                    };
                    // Fails only where the connection has ended.
                    let _ = queue.send(FromNode::Answer { ask, result }).await;
                };
                asked.spawn_on(answering, answers);
            }
            FromControl::Purged { call, status, body } => {
                following.calls.answered(call, status, body.to_string());
            }
            FromControl::Ticket { relay, ticket } => {
                // Nobody waits for one that comes late.
                let _ = tell.tickets.try_send((relay, ticket));
            }
            FromControl::Linked { link } => on_relay(following, |relay| relay.linked(link)),
            FromControl::Unlinked { link, reason } => {
                on_relay(following, |relay| relay.unlinked(link, reason));
            }
            FromControl::Relayed { link, line } => {
                on_relay(following, |relay| relay.line(link, &line));
            }
            FromControl::Unknown => {
                tracing::debug!("control sent an unknown frame");
            }
            FromControl::Refused { reason, temporary } => return refused(reason, temporary),
            FromControl::Welcome(_) => return End::Lost("control welcomes twice".to_owned()),
        }
    }
}

/// An entry as the relay passes it on.
fn passed_on(entry: &Entry) -> Vec<u8> {
    written(&FromControl::Entry(entry.clone()))
}

/// A line as control would send it.
fn written(line: &FromControl) -> Vec<u8> {
    let mut out = Vec::new();
    write_line(&mut out, line)
        .unwrap_or_else(|error| unreachable!("lines of control are JSON: {error}"));
    out
}

/// Says something to edges behind this node, if it is a relay.
fn on_relay(following: &Following, say: impl FnOnce(&Relay)) {
    if let Some(relay) = &following.state.relay {
        say(relay);
    }
}

/// Acknowledges what was applied. With a disk store, once the node's place in the log is durable there:
/// one sync for all that was applied meanwhile.
async fn keep(
    following: &Following,
    mut applied: watch::Receiver<Seq>,
    acked: watch::Sender<Seq>,
) -> End {
    while applied.changed().await.is_ok() {
        let seq = *applied.borrow_and_update();
        if let Some(disk) = &following.state.disk {
            // Taken after what was applied: it covers that.
            disk.keep().await;
        }
        acked.send_replace(seq);
    }
    // The half that listens ends the connection.
    std::future::pending().await
}

/// How a connection ended on which control refused the node.
fn refused(reason: String, temporary: bool) -> End {
    if temporary { End::Lost(reason) } else { End::Refused(reason) }
}

/// The answer to a question that this version cannot read.
fn unreadable(reason: &str) -> String {
    format!("weir {} cannot read this question: {reason}", env!("CARGO_PKG_VERSION"))
}

/// Says what there is to say, until the connection ends or the node stops.
async fn speak<S: AsyncRead + AsyncWrite>(
    following: &Following,
    mut write: WriteHalf<S>,
    mut told: Outgoing,
    stop: &mut watch::Receiver<bool>,
) -> End {
    let mut noted = following.state.matched.subscribe();
    let mut seen = noted.borrow_and_update().saturating_sub(TOLD_AGAIN);
    noted.mark_changed();
    let mut ended = following.others_ended.subscribe();
    ended.mark_changed();
    let mut checked = match &following.state.disk {
        Some(disk) => {
            let mut checked = disk.checked();
            checked.mark_changed();
            checked
        }
        // Nothing ever comes.
        None => watch::channel(0).1,
    };
    let mut out = Vec::new();
    loop {
        let said = tokio::select! {
            biased;
            () = leaving(stop) => {
                let returns = following.state.disk.is_some();
                return leave(&mut write, &mut told, out, following.patience, returns).await;
            }
            Ok(()) = told.acked.changed() => {
                put(&mut out, &FromNode::Applied { seq: *told.acked.borrow_and_update() })
            }
            Ok(()) = told.beats.changed() => {
                let alive = FromNode::Alive(following.stats());
                following.spoken().alive(following.state.now());
                put(&mut out, &alive)
            }
            Ok(()) = checked.changed() => put_checked(&mut out, following, *checked.borrow_and_update()),
            Ok(()) = noted.changed() => {
                let (counts, upto) = following.state.matched.after(seen);
                seen = upto;
                put_counts(&mut out, following, &counts)
            }
            Ok(()) = ended.changed() => {
                let instances = ended.borrow_and_update().clone();
                let mut ended = instances.into_iter().map(|instance| FromNode::Ended { instance });
                ended.try_for_each(|ended| put(&mut out, &ended))
            }
            Some(line) = told.queue.recv() => put(&mut out, &line),
            said = acknowledged_behind(following) => put(&mut out, &FromNode::AppliedBehind(said)),
            Some(line) = behind(&mut told.behind) => put_behind(&mut out, line, &mut told.behind),
            else => return End::Left,
        };
        if let Err(end) = said {
            return end;
        }
        if let Err(end) = send(&mut write, &mut out, following.patience).await {
            return end;
        }
    }
}

/// What edges behind this node have applied, once it is to be said.
async fn acknowledged_behind(following: &Following) -> AppliedBehind {
    match &following.state.relay {
        Some(relay) => relay.acknowledgement().await,
        None => std::future::pending().await,
    }
}

/// The next line of an edge behind this node.
async fn behind(lines: &mut Option<mpsc::Receiver<FromNode>>) -> Option<FromNode> {
    match lines {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}

/// Says what was applied, and that the node is not expected back, or not before it returns with what it
/// has stored.
async fn leave<S: AsyncRead + AsyncWrite>(
    write: &mut WriteHalf<S>,
    told: &mut Outgoing,
    mut out: Vec<u8>,
    patience: Duration,
    returns: bool,
) -> End {
    let applied = *told.acked.borrow_and_update();
    let said = put(&mut out, &FromNode::Applied { seq: applied })
        .and_then(|()| put(&mut out, if returns { &FromNode::Away } else { &FromNode::Leave }));
    if said.is_ok() && send(write, &mut out, patience).await.is_ok() {
        // Control sees the end of the stream only after all that was said.
        let _ = tokio::time::timeout(patience, write.shutdown()).await;
    }
    End::Left
}

/// Up to where what is on disk was held against the log that is followed, in its numbers.
fn put_checked(out: &mut Vec<u8>, following: &Following, checked: Seq) -> Result<(), End> {
    match following.state.purges.standing().of_log(checked) {
        Some(seq) => put(out, &FromNode::Checked { seq }),
        // Of another log: what is from before is nothing that this one must reach back to.
        None => Ok(()),
    }
}

/// Counts of purges of the log that is followed, in its numbers.
fn put_counts(out: &mut Vec<u8>, following: &Following, counts: &[(Seq, u64)]) -> Result<(), End> {
    let followed = following.state.purges.standing();
    let counts: Vec<_> =
        counts.iter().filter_map(|(own, count)| Some((followed.of_log(*own)?, *count))).collect();
    for counts in counts.chunks(MOST_COUNTS) {
        put(out, &FromNode::Matched { counts: counts.to_vec() })?;
    }
    Ok(())
}

/// A line of an edge behind this node, and those that wait after it.
fn put_behind(
    out: &mut Vec<u8>,
    first: FromNode,
    waiting: &mut Option<mpsc::Receiver<FromNode>>,
) -> Result<(), End> {
    let mut next = Some(first);
    while let Some(line) = next {
        put(out, &line)?;
        let has_room = out.len() < BEHIND;
        next = waiting.as_mut().filter(|_| has_room).and_then(|lines| lines.try_recv().ok());
    }
    Ok(())
}

fn put(out: &mut Vec<u8>, line: &FromNode) -> Result<(), End> {
    write_line(out, line).map_err(|error| End::Lost(format!("{line:?}: {error}")))
}

async fn send<W: AsyncWrite + Unpin>(
    write: &mut W,
    out: &mut Vec<u8>,
    patience: Duration,
) -> Result<(), End> {
    let sent = async {
        write.write_all(out).await?;
        write.flush().await
    };
    match tokio::time::timeout(patience, sent).await {
        Ok(Ok(())) => {
            out.clear();
            Ok(())
        }
        Ok(Err(error)) => Err(End::Lost(format!("the connection broke: {error}"))),
        Err(_) => Err(End::Lost(format!("control has not read anything for {patience:?}"))),
    }
}

/// The next line of control. That it came renews no lease: see [`Renewals`].
async fn hear<R: AsyncRead + Unpin>(
    following: &Following,
    heard: &mut Heard<R>,
    patience: Duration,
) -> Result<FromControl, End> {
    let silent = || Err(End::Lost(format!("control has been silent for {patience:?}")));
    let line = match tokio::time::timeout(patience, heard.lines.next()).await {
        Ok(Ok(Some(line))) => line,
        Ok(Ok(None)) => return Err(End::Lost("control ended the connection".to_owned())),
        Ok(Err(error)) => return Err(End::Lost(error.to_string())),
        Err(_) => return silent(),
    };
    let now = following.state.now();
    // Sent while this process or its machine slept, the line is older than it seems.
    if u128::from(now.millis_since(heard.last)) > patience.as_millis() {
        return silent();
    }
    heard.last = now;
    Ok(line)
}

/// Renews the lease as of a time that [`Renewals`] found.
fn renew(following: &Following, as_of: Option<Time>) {
    if let Some(at) = as_of {
        following.state.lease.renew(at);
    }
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::Checkpoint;
    use super::super::tests::node;
    use super::*;

    /// Before and after a suspension the clock that measures patience may show the same.
    #[tokio::test]
    async fn a_line_that_waited_for_longer_than_the_lease_ends_the_connection() {
        let (state, following) = node(&Checkpoint::default());
        let patience = u64::try_from(following.patience.as_millis()).unwrap_or(u64::MAX);
        for (waited, in_time) in [(patience / 2, true), (patience + 1000, false)] {
            let lines = Lines::new(&b"{\"frame\":\"heartbeat\",\"head\":0}\n"[..]);
            let mut heard = Heard { lines, last: state.now().minus_millis(waited) };
            let line = hear(&following, &mut heard, following.patience).await;
            assert_eq!(line.is_ok(), in_time, "{waited}: {line:?}");
        }
    }
}
