//! One connection to control, from hello to its end.

use super::answers::answer;
use super::follower::{Following, leaving};
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
use weir_rules::time::Time;

/// Lines that may wait to be written, acknowledgements and counts aside: those never wait in line.
const QUEUE: usize = 64;

/// Questions of control under way at once.
const MOST_ASKED: usize = 16;

/// Counts in one line.
const MOST_COUNTS: usize = 1000;

/// Counts from before the connection that are told once more: control may not have got them.
const TOLD_AGAIN: u64 = 1000;

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The node left, or stops.
    Left,
    /// The node has something else to say in its hello.
    Again,
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
}

/// The same, from its other side.
struct OutgoingSender {
    /// The seq up to which everything holds, once that is durable.
    applied: watch::Sender<Seq>,
    beats: watch::Sender<u64>,
    queue: mpsc::Sender<FromNode>,
}

/// The lines of control, and when the last of them was received.
struct Heard<R> {
    lines: Lines<R>,
    /// At first, when the node said hello.
    last: Time,
}

/// Follows control over `stream`, until that ends or the node stops. What control asks is answered
/// on `answers`; `joined` is called once control has let the node in.
pub(super) async fn converse<S>(
    following: &Following,
    stream: S,
    stop: &mut watch::Receiver<bool>,
    answers: &Handle,
    joined: impl FnOnce(&Welcomed),
) -> End
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    // Before the hello, which tells of the sites as they are then.
    let mut sites = following.state.moved.subscribe();
    let (read, mut write) = tokio::io::split(stream);
    let hello_at = following.state.now();
    *following.spoken() = Spoken::hello(hello_at);
    let mut heard = Heard { lines: Lines::new(read), last: hello_at };
    // By a node that is to leave as well: control expects it from its hello on, until it says so.
    let welcomed = match welcome(following, &mut heard, &mut write).await {
        Ok(welcomed) => welcomed,
        Err(end) => return end,
    };
    let seq = match following.applier.welcome(&welcomed) {
        Ok(seq) => seq,
        Err(reason) => return End::Lost(reason),
    };
    let (applied, mut to_keep) = watch::channel(seq);
    let (acked, mut acks) = watch::channel(seq);
    match following.state.disk {
        Some(_) => to_keep.mark_changed(),
        None => acks.mark_changed(),
    }
    let (beats, beaten) = watch::channel(0);
    let (queue, queued) = mpsc::channel(QUEUE);
    // Before the node says that it is ready: a purge by method may come at once.
    following.calls.open(queue.clone());
    let head = welcomed.place.head;
    let mut renewals = Renewals::begin(seq);
    renew(following, renewals.named(head, hello_at));
    // The floor is raised where it must be: purges reach whatever is stored from now on.
    following.state.lease.admit();
    following.link.joined(head);
    if seq >= head {
        following.link.caught_up();
    }
    joined(&welcomed);
    let tell = OutgoingSender { applied, beats, queue };
    let told = Outgoing { acked: acks, beats: beaten, queue: queued };
    let end = tokio::select! {
        end = listen(following, heard, tell, answers, renewals, head) => end,
        end = speak(following, write, told, stop) => end,
        end = keep(following, to_keep, acked) => end,
        // An error says that nothing can change any more.
        Ok(()) = sites.changed() => End::Again,
    };
    following.link.parted();
    following.calls.close();
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
    match hear(following, heard).await? {
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
    mut renewals: Renewals,
    caught_up_at: Seq,
) -> End {
    let mut asked = JoinSet::new();
    loop {
        let line = match hear(following, &mut heard).await {
            Ok(line) => line,
            Err(end) => return end,
        };
        match line {
            FromControl::Entry(entry) => {
                following.link.extend(entry.seq);
                match following.applier.take(entry) {
                    Ok(seq) => {
                        renew(following, renewals.applied(seq));
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
            }
            FromControl::Heartbeat { head, heard: count } => {
                let said = match count {
                    Some(count) => following.spoken().heard(count),
                    // Of an older control, which relies on no lease.
                    None => Some(heard.last),
                };
                let Some(said) = said else {
                    return End::Lost("control has heard what was not said".to_owned());
                };
                if let Some(head) = head {
                    renew(following, renewals.named(head, said));
                    following.link.extend(head);
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
            FromControl::Unknown => {
                tracing::debug!("control sent an unknown frame");
            }
            FromControl::Refused { reason, temporary } => return refused(reason, temporary),
            FromControl::Welcome(_) => return End::Lost("control welcomes twice".to_owned()),
        }
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
) -> Result<FromControl, End> {
    let patience = following.patience;
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
            let line = hear(&following, &mut heard).await;
            assert_eq!(line.is_ok(), in_time, "{waited}: {line:?}");
        }
    }
}
