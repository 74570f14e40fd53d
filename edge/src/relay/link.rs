//! The connection of one edge to its relay.

use super::{Down, OpenLink, Relay};
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::sync::watch;
use tokio::time::timeout;
use weir_protocol::frame::FromNode;
use weir_protocol::lines::{Lines, write_line};
use weir_protocol::relay::{FromRelay, ToRelay};
use weir_protocol::unread::Unread;
use weir_rules::invalidation::Seq;

/// From the connection to the edge's ticket, and from there to control's word.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long an edge that has applied more waits for the relay.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Bytes of entries written at once.
const BATCH: usize = 256 << 10;

impl Relay {
    /// Serves an edge over `stream`, until one of the two ends it.
    pub(crate) async fn serve<S: AsyncRead + AsyncWrite>(&self, stream: S) {
        let (read, mut write) = tokio::io::split(stream);
        let mut lines = Lines::new(read);
        let over = match self.handshake(&mut lines, &mut write).await {
            Ok((link, after)) => link.converse(lines, &mut write, after).await,
            Err(reason) => {
                // Whoever hung up hears nothing.
                let _ = self.say(&mut write, &FromRelay::Refused { reason: reason.clone() }).await;
                reason
            }
        };
        tracing::debug!(relay = %self.name, reason = over, "an edge goes elsewhere");
        let _ = timeout(HANDSHAKE, write.shutdown()).await;
    }

    /// Until control has attached the edge; what the edge has applied.
    async fn handshake<R: AsyncRead + Unpin, S: AsyncRead + AsyncWrite>(
        &self,
        lines: &mut Lines<R>,
        write: &mut WriteHalf<S>,
    ) -> Result<(OpenLink<'_>, Seq), String> {
        // Before control is asked for a ticket to it; an edge that only looks sees that it is well.
        self.takes_edges(&self.lock())?;
        self.say(write, &FromRelay::Greeting { name: self.name.to_string() }).await?;
        let shown = timeout(HANDSHAKE, lines.next::<ToRelay>()).await;
        let shown = shown.map_err(|_| "it has shown no ticket".to_owned())?;
        let shown = shown.map_err(|error| error.to_string())?;
        let ToRelay::Ticket { ticket, after } = shown.ok_or("it hung up")?;
        let mut at = self.at.subscribe();
        // If it does not catch up, that is said when the link is opened.
        let _ = timeout(CATCH_UP, at.wait_for(|at| *at >= after)).await;
        let mut link = self.open(ticket, after)?;
        match timeout(HANDSHAKE, link.lines.recv()).await {
            Ok(Some(Down::Linked)) => {}
            Ok(Some(Down::Unlinked(reason))) => return Err(reason),
            Ok(Some(Down::Line(_)) | None) => return Err("the relay lost control".to_owned()),
            Err(_) => return Err("control did not answer the relay".to_owned()),
        }
        self.say(write, &FromRelay::Linked).await?;
        Ok((link, after))
    }

    async fn say<S: AsyncRead + AsyncWrite>(
        &self,
        write: &mut WriteHalf<S>,
        line: &FromRelay,
    ) -> Result<(), String> {
        let mut out = Vec::new();
        write_line(&mut out, line).map_err(|error| error.to_string())?;
        self.send_to(write, &out).await
    }

    async fn send_to<S: AsyncRead + AsyncWrite>(
        &self,
        write: &mut WriteHalf<S>,
        out: &[u8],
    ) -> Result<(), String> {
        let sent = async {
            write.write_all(out).await?;
            write.flush().await
        };
        match timeout(self.patience, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("the connection broke: {error}")),
            Err(_) => Err(format!("it has taken nothing for {:?}", self.patience)),
        }
    }
}

impl OpenLink<'_> {
    /// Passes lines on in both directions; returns why that ended.
    async fn converse<R: AsyncRead + Unpin, S: AsyncRead + AsyncWrite>(
        mut self,
        mut lines: Lines<R>,
        write: &mut WriteHalf<S>,
        after: Seq,
    ) -> String {
        let relay = self.relay;
        let (up, link) = (self.up.clone(), self.link);
        let hear = async {
            loop {
                let line = match timeout(relay.patience, lines.next::<Unread>()).await {
                    Ok(Ok(Some(line))) => line,
                    Ok(Ok(None)) => return "it hung up".to_owned(),
                    Ok(Err(error)) => return error.to_string(),
                    Err(_) => return format!("silent for {:?}", relay.patience),
                };
                match applied(&line) {
                    Some(seq) => relay.edge_applied(link, seq),
                    None if up.send(FromNode::Relayed { link, line }).await.is_err() => {
                        return "the relay lost control".to_owned();
                    }
                    None => {}
                }
            }
        };
        tokio::select! {
            reason = hear => reason,
            reason = self.speak(write, after) => reason,
        }
    }

    /// Sends entries as this node has applied them, and control's lines.
    async fn speak<S: AsyncRead + AsyncWrite>(
        &mut self,
        write: &mut WriteHalf<S>,
        mut sent: Seq,
    ) -> String {
        let relay = self.relay;
        let mut at: watch::Receiver<Seq> = relay.at.subscribe();
        at.mark_changed();
        loop {
            let out = tokio::select! {
                Ok(()) = at.changed() => {
                    at.borrow_and_update();
                    match relay.entries(self.link, sent, BATCH) {
                        Ok((out, last)) => {
                            sent = last;
                            if last < relay.lock().passing.at() {
                                // Control's lines come in between.
                                at.mark_changed();
                            }
                            out
                        }
                        Err(_) => return "the relay lost control, or no longer has its next entry".to_owned(),
                    }
                }
                line = self.lines.recv() => match line {
                    Some(Down::Line(line)) => {
                        self.waiting.fetch_sub(line.len(), Ordering::Relaxed);
                        line
                    }
                    Some(Down::Unlinked(reason)) => return reason,
                    Some(Down::Linked) => continue,
                    None => return "the relay lost control, or the edge is too slow".to_owned(),
                },
            };
            if let Err(reason) = relay.send_to(write, &out).await {
                return reason;
            }
        }
    }
}

/// The seq of a line that acknowledges.
fn applied(line: &Unread) -> Option<Seq> {
    #[derive(Deserialize)]
    struct Acknowledgement<'a> {
        #[serde(borrow)]
        frame: Cow<'a, str>,
        seq: Seq,
    }
    let line: Acknowledgement<'_> = serde_json::from_str(line.text()).ok()?;
    (line.frame == "applied").then_some(line.seq)
}
