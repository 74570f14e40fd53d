//! How a fake edge comes to be attached to a relay, as [`weir_protocol::relay`] says.

use super::{Node, upgraded};
use crate::Error;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_protocol::frame::FromNode;
use weir_protocol::lines::write_line;
use weir_protocol::relay::{FromRelay, PROTOCOL, ToRelay};
use weir_rules::tier::{self, Claim};

impl Node {
    /// Follows control through the relay at `at` from now on.
    pub(super) async fn attach(&mut self, at: SocketAddr) -> Result<(), Error> {
        let welcomed = self.follower.welcomed.take().ok_or("not let in yet")?;
        let (place, key) = (welcomed.place, welcomed.tier_key);
        let claim = Claim { log: place.log, applied: place.after, mark: place.mark };
        let fields = format!("{}: {key}\r\n{}: {claim}\r\n", tier::KEY, tier::SEQ);
        let mut relay = upgraded(at, PROTOCOL, &fields).await?;
        let FromRelay::Greeting { name } = heard(&mut relay).await? else {
            return Err("the relay does not greet".into());
        };
        let mut out = Vec::new();
        write_line(&mut out, &FromNode::Attach { relay: name })?;
        self.stream.write_all(&out).await?;
        let ticket = loop {
            match self.follower.ticket.take() {
                Some(ticket) => break ticket,
                None => self.turn().await?,
            }
        };
        let after = self.follower.at.ok_or("nothing was applied")?;
        out.clear();
        write_line(&mut out, &ToRelay::Ticket { ticket, after })?;
        relay.write_all(&out).await?;
        match heard(&mut relay).await? {
            FromRelay::Linked => {}
            other => return Err(format!("not attached: {other:?}").into()),
        }
        // What came from control after that comes from the relay.
        self.follower.rest.clear();
        self.stream = relay;
        Ok(())
    }
}

/// The relay's next line, and nothing of what follows it.
async fn heard(relay: &mut TcpStream) -> Result<FromRelay, Error> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.push(relay.read_u8().await?);
    }
    Ok(serde_json::from_slice(&line)?)
}
