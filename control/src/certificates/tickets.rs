//! The keys of session tickets, which all edges share: made, kept sealed, and rotated.

use super::{Certificates, ordering};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use weir_acme::{Seal, TicketKeys, version};
use weir_config::Acme;
use weir_protocol::sealed::{Purpose, Sealed};

/// Their name in the storage.
const NAME: &str = "tickets";

/// From a failure to the next attempt.
const PAUSE: Duration = Duration::from_secs(5);

/// The clock may be set: it is read again at least so often.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// Keys that edges have.
struct InForce {
    keys: TicketKeys,
    /// As they were sealed.
    acme: Acme,
}

impl Certificates {
    /// Keeps the keys of session tickets, as long as this is polled.
    pub(crate) async fn keep_tickets(self: Arc<Self>) {
        let mut in_force = None;
        loop {
            let config = self.process.config();
            let wait = match ordering(&config) {
                None => {
                    in_force = None;
                    LONGEST_SLEEP
                }
                Some(acme) => match self.bring_up(acme, &mut in_force).await {
                    Ok(wait) => wait.min(LONGEST_SLEEP),
                    Err(error) => {
                        tracing::error!(error, "session tickets keep their keys; trying again");
                        PAUSE
                    }
                },
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.tickets.notified() => {}
            }
        }
    }

    /// Rotates the keys where that is due; how long until the next time.
    async fn bring_up(
        &self,
        acme: &Acme,
        in_force: &mut Option<InForce>,
    ) -> Result<Duration, String> {
        let storage = (self.storage)(acme);
        let before = match in_force.take() {
            Some(before) => Some(before),
            None => self.kept(&storage.read(NAME).await?, acme),
        };
        let rotation = u64::try_from(acme.ticket_rotation.as_millis()).unwrap_or(u64::MAX);
        let now = version();
        let replaced = self.replace_tickets.load(Ordering::Relaxed);
        let due = |keys: &TicketKeys| keys.since.saturating_add(rotation);
        let keys = match before {
            Some(before) if !replaced && now < due(&before.keys) => {
                let wait = Duration::from_millis(due(&before.keys) - now);
                let is_sealed = before.acme == *acme;
                let keys = before.keys.clone();
                *in_force = Some(before);
                if is_sealed {
                    return Ok(wait);
                }
                keys
            }
            Some(before) if !replaced => before.keys.rotated(now)?,
            // None of the keys before is of use to anybody from now on.
            _ => TicketKeys::new(now)?,
        };
        let plain = serde_json::to_vec(&keys).map_err(|error| error.to_string())?;
        let item = self.shelf.seal(Purpose::Tickets, "", &plain)?;
        let text = serde_json::to_string(&item).map_err(|error| error.to_string())?;
        storage.write(NAME, &text).await?;
        self.shelf.put(item);
        if replaced {
            self.replace_tickets.store(false, Ordering::Relaxed);
            tracing::info!("the keys of session tickets are replaced");
        }
        let wait = Duration::from_millis(due(&keys).saturating_sub(now));
        *in_force = Some(InForce { keys, acme: acme.clone() });
        Ok(wait)
    }

    /// Keys as they were kept, which edges get again.
    fn kept(&self, text: &Option<String>, acme: &Acme) -> Option<InForce> {
        let item: Sealed = serde_json::from_str(text.as_deref()?).ok()?;
        let is_it = item.name.purpose == Purpose::Tickets && item.name.host.is_empty();
        let (plain, is_new) = Seal::of(acme).filter(|_| is_it)?.open(&item).ok()?;
        let keys = serde_json::from_slice(&plain).ok()?;
        let mut sealed_by = acme.clone();
        if is_new {
            self.shelf.put(item);
        } else {
            // It is sealed anew.
            sealed_by.secret = None;
        }
        Some(InForce { keys, acme: sealed_by })
    }
}
