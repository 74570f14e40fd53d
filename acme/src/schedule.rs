//! Which host is next, and what is known of each.

use crate::backoff::{Failure, waits};
use crate::renewal::{SILENCE, Validity, Window, ask_again_after, renew_at};
use std::collections::BTreeMap;
use weir_config::{Config, SiteTls};
use weir_rules::time::Time;

/// The hosts that certificates are ordered for, each with the id of its site: those of sites with
/// `tls = "auto"`.
pub fn wanted(config: &Config) -> BTreeMap<String, String> {
    let sites = config.sites.iter().filter(|site| site.tls == SiteTls::Auto);
    sites.flat_map(|site| site.hosts.iter().map(|host| (host.clone(), site.id.clone()))).collect()
}

/// What is known of a certificate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Held {
    /// How long it is valid.
    pub validity: Validity,
    /// Where in a window it is renewed ([`crate::renewal::point_of`]).
    pub point: f64,
}

/// What is next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A certificate for this host is to be ordered.
    Order(String),
    /// The CA is to be asked when to renew this host's.
    AskWindow(String),
    /// Nothing before that.
    Wait(Time),
}

/// What is known of a host.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// The id of its site.
    pub site: String,
    /// Its certificate, if it has one.
    pub held: Option<Held>,
    /// When the CA suggests to renew it.
    pub window: Option<Window>,
    /// Failed orders since the last certificate.
    pub failures: u32,
    /// The last failure, in words, since the last certificate.
    pub error: Option<String>,
    /// No order before that.
    pub not_before: Time,
    ask_at: Time,
    forced: bool,
}

impl Host {
    /// When its certificate is to be renewed; `None` without one.
    pub fn renew_at(&self) -> Option<Time> {
        self.held.map(|held| renew_at(held.validity, self.window, held.point))
    }

    /// When its next order is due.
    fn order_at(&self) -> Time {
        match self.renew_at() {
            Some(at) if !self.forced => at.max(self.not_before),
            _ => self.not_before,
        }
    }
}

/// All hosts.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    hosts: BTreeMap<String, Host>,
    /// No order before that, whatever the host.
    pause: Time,
    /// No question for a window before that: the CA answers none, or cannot be reached.
    silence: Time,
    /// How often in a row the CA was unavailable.
    unavailable: u32,
    /// The wait after a first failure, milliseconds.
    first: u64,
}

impl Schedule {
    /// Keeps these hosts and no others. What is known of one that stays is kept. `held` tells of the
    /// certificate of a new one.
    pub fn keep(
        &mut self,
        wanted: BTreeMap<String, String>,
        first: u64,
        mut held: impl FnMut(&str) -> Option<Held>,
    ) {
        self.first = first;
        let mut before = std::mem::take(&mut self.hosts);
        for (host, site) in wanted {
            let known = before.remove(&host);
            let known = known.unwrap_or_else(|| Host { held: held(&host), ..Host::default() });
            self.hosts.insert(host, Host { site, ..known });
        }
    }

    /// Forgets waits, failures and windows: they were another CA's.
    pub fn begin_anew(&mut self) {
        (self.pause, self.silence, self.unavailable) = (Time::default(), Time::default(), 0);
        for host in self.hosts.values_mut() {
            (host.failures, host.error, host.window) = (0, None, None);
            (host.not_before, host.ask_at) = (Time::default(), Time::default());
            // What is served was issued by the CA before.
            host.forced = true;
        }
    }

    /// What is next. Orders come before questions, and who waits longest comes first.
    pub fn next(&self, now: Time) -> Next {
        let at = |order_at: Time| order_at.max(self.pause);
        let order = self.hosts.iter().map(|(name, host)| (at(host.order_at()), name)).min();
        let held = self.hosts.iter().filter(|(_, host)| host.held.is_some());
        let ask = held.map(|(name, host)| (at(host.ask_at).max(self.silence), name)).min();
        match (order, ask) {
            (Some((at, name)), _) if at <= now => Next::Order(name.clone()),
            (_, Some((at, name))) if at <= now => Next::AskWindow(name.clone()),
            (order, ask) => {
                let times = order.into_iter().chain(ask).map(|(at, _)| at);
                Next::Wait(times.min().unwrap_or(Time::from_millis(u64::MAX)))
            }
        }
    }

    /// A host has a new certificate.
    pub fn issued(&mut self, name: &str, held: Held) {
        self.unavailable = 0;
        if let Some(host) = self.hosts.get_mut(name) {
            let site = std::mem::take(&mut host.site);
            *host = Host { site, held: Some(held), ..Host::default() };
        }
    }

    /// An order failed: the waits that follow from it, with a random `jitter` (0 to 1).
    pub fn failed(&mut self, name: &str, now: Time, failure: &Failure, error: String, jitter: f64) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        host.failures = host.failures.saturating_add(1);
        host.error = Some(error);
        let in_a_row = match failure {
            Failure::Unavailable { .. } => {
                self.unavailable = self.unavailable.saturating_add(1);
                self.unavailable
            }
            _ => {
                self.unavailable = 0;
                host.failures
            }
        };
        let waits = waits(failure, in_a_row, self.first, jitter);
        host.not_before = now.plus_millis(waits.host);
        self.pause = self.pause.max(now.plus_millis(waits.all));
    }

    /// Nothing can be ordered for a host before `until`, which is no failure of an order.
    pub fn postpone(&mut self, name: &str, until: Time, why: &str) {
        if let Some(host) = self.hosts.get_mut(name) {
            host.not_before = until;
            host.error = Some(why.to_owned());
        }
    }

    /// The CA told when to renew a certificate, and when to ask again, milliseconds from now.
    pub fn told(&mut self, name: &str, now: Time, window: Window, again: u64) {
        if let Some(host) = self.hosts.get_mut(name) {
            host.window = Some(window);
            host.ask_at = now.plus_millis(ask_again_after(again));
        }
    }

    /// The CA told nothing: what it told before holds, and no host asks for a while.
    pub fn not_told(&mut self, name: &str, now: Time) {
        self.silence = now.plus_millis(SILENCE);
        if let Some(host) = self.hosts.get_mut(name) {
            host.ask_at = now.plus_millis(SILENCE);
        }
    }

    /// Has a host's certificate renewed at once; `false` if it is not one of these.
    pub fn force(&mut self, name: &str) -> bool {
        let host = self.hosts.get_mut(name);
        host.map(|host| (host.forced, host.not_before) = (true, Time::default())).is_some()
    }

    /// What is known of a host.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.get(name)
    }

    /// All hosts by name.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, &Host)> {
        self.hosts.iter().map(|(name, host)| (name.as_str(), host))
    }

    /// No order is sent before that.
    pub fn pause(&self) -> Time {
        self.pause
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;
    const DAY: u64 = 86_400_000;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn held(begin: u64, end: u64) -> Held {
        Held { validity: Validity { begin: at(begin), end: at(end) }, point: 0.5 }
    }

    fn schedule(hosts: &[&str]) -> Schedule {
        let mut schedule = Schedule::default();
        let wanted = hosts.iter().map(|host| ((*host).to_owned(), "site".to_owned())).collect();
        schedule.keep(wanted, MINUTE, |_| None);
        schedule
    }

    #[test]
    fn only_hosts_of_sites_that_say_so_are_wanted() {
        let text = "[node]\nstate = \"/s\"\n[tls]\n[tls.acme]\n\
                    [[site]]\nid = \"a\"\nhosts = [\"a.test\", \"b.test\"]\ntls = \"auto\"\norigins = [\"http://o\"]\n\
                    [[site]]\nid = \"b\"\nhosts = [\"c.test\", \"*\"]\norigins = [\"http://o\"]\n";
        let wanted = wanted(&Config::from_toml(text).unwrap());
        assert_eq!(wanted.into_keys().collect::<Vec<_>>(), ["a.test", "b.test"]);
    }

    #[test]
    fn one_host_that_is_refused_holds_up_no_other() {
        let mut schedule = schedule(&["a.test", "b.test"]);
        assert_eq!(schedule.next(at(0)), Next::Order("a.test".into()));
        schedule.failed("a.test", at(0), &Failure::Refused, "no".into(), 0.0);
        assert_eq!(schedule.next(at(0)), Next::Order("b.test".into()));
        schedule.issued("b.test", held(0, 90 * DAY));
        schedule.not_told("b.test", at(0));
        assert_eq!(schedule.next(at(0)), Next::Wait(at(MINUTE)));
        assert_eq!(schedule.host("a.test").unwrap().error.as_deref(), Some("no"));
        assert_eq!(schedule.next(at(MINUTE)), Next::Order("a.test".into()));
    }

    #[test]
    fn a_ca_that_is_unavailable_is_left_alone_by_all() {
        let mut schedule = schedule(&["a.test", "b.test"]);
        let down = Failure::Unavailable { retry_after: None };
        schedule.failed("a.test", at(0), &down, "down".into(), 0.0);
        assert_eq!(schedule.next(at(0)), Next::Wait(at(MINUTE)));
        schedule.failed("b.test", at(MINUTE), &down, "down".into(), 0.0);
        assert_eq!(schedule.next(at(MINUTE)), Next::Wait(at(3 * MINUTE)));
    }

    #[test]
    fn a_certificate_stays_until_it_is_renewed_and_is_renewed_when_the_ca_says() {
        let mut schedule = schedule(&["a.test"]);
        schedule.issued("a.test", held(0, 90 * DAY));
        assert_eq!(schedule.next(at(0)), Next::AskWindow("a.test".into()));
        schedule.not_told("a.test", at(0));
        assert_eq!(schedule.next(at(0)), Next::Wait(at(DAY / 4)));
        let window = Window { start: at(2 * DAY), end: at(4 * DAY) };
        schedule.told("a.test", at(DAY), window, DAY);
        assert_eq!(schedule.host("a.test").unwrap().renew_at(), Some(at(3 * DAY)));
        schedule.not_told("a.test", at(2 * DAY));
        assert_eq!(schedule.next(at(3 * DAY)), Next::Order("a.test".into()));
        schedule.failed("a.test", at(3 * DAY), &Failure::Refused, "no".into(), 0.0);
        assert!(schedule.host("a.test").unwrap().held.is_some());
    }

    #[test]
    fn a_reload_keeps_what_is_known_of_hosts_that_stay() {
        let mut schedule = schedule(&["a.test", "b.test"]);
        schedule.failed("a.test", at(0), &Failure::Refused, "no".into(), 0.0);
        let wanted = [("a.test", "other"), ("c.test", "other")];
        let wanted = wanted.map(|(host, site)| (host.to_owned(), site.to_owned()));
        schedule.keep(wanted.into(), MINUTE, |_| None);
        let a = schedule.host("a.test").unwrap();
        assert_eq!((a.failures, a.site.as_str()), (1, "other"));
        assert!(schedule.host("b.test").is_none());
        assert_eq!(schedule.next(at(0)), Next::Order("c.test".into()));
    }

    #[test]
    fn a_host_that_is_put_off_has_not_failed_and_holds_up_no_other() {
        let mut schedule = schedule(&["a.test", "b.test"]);
        schedule.postpone("a.test", at(1000), "nobody would answer");
        assert_eq!(schedule.next(at(0)), Next::Order("b.test".into()));
        let a = schedule.host("a.test").unwrap();
        assert_eq!((a.failures, a.error.as_deref()), (0, Some("nobody would answer")));
        schedule.failed("b.test", at(0), &Failure::Refused, "no".into(), 0.0);
        assert_eq!(schedule.next(at(1000)), Next::Order("a.test".into()));
    }

    #[test]
    fn a_forced_renewal_comes_at_once_and_once() {
        let mut schedule = schedule(&["a.test"]);
        schedule.issued("a.test", held(0, 90 * DAY));
        schedule.not_told("a.test", at(0));
        assert!(!schedule.force("b.test"));
        assert!(schedule.force("a.test"));
        assert_eq!(schedule.next(at(0)), Next::Order("a.test".into()));
        schedule.issued("a.test", held(0, 90 * DAY));
        schedule.not_told("a.test", at(0));
        assert_eq!(schedule.next(at(0)), Next::Wait(at(DAY / 4)));
    }
}
