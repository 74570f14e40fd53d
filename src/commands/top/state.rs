//! What is known and how it is looked at: keys and answers change it, [`draw`](super::draw) shows it.

use super::figures::{Certificates, Popular, Purges, Stats, Traffic, Uncached};
use super::layout::{Areas, page};
use super::listing::Listing;
use super::panes::Pane;
use super::poll::Call;
use super::range::Range;
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::Rect;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Beyond the pause between two calls, how old figures may be before that is said.
const LATE: Duration = Duration::from_secs(3);

/// The screen before it is drawn.
#[derive(Debug)]
pub(super) struct State {
    /// Where control is.
    pub(super) control: String,
    /// Between two calls of a kind.
    pub(super) every: Duration,
    pub(super) figures: Figures,
    /// What totals and the course are of.
    pub(super) range: Range,
    /// The pane that keys are for.
    pub(super) focus: Pane,
    /// The one beside the nodes where there is room for two.
    pub(super) beside: Pane,
    pub(super) paused: bool,
    pub(super) help: bool,
    begun: Instant,
    /// The first row shown of each pane, and its order.
    tops: [usize; 5],
    orders: [usize; 5],
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    GoOn,
    Quit,
}

/// What control answered, by call.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) stats: Polled<Stats>,
    pub(super) traffic: Polled<Traffic>,
    pub(super) popular: Polled<Popular>,
    pub(super) uncached: Polled<Uncached>,
    pub(super) purges: Polled<Purges>,
    pub(super) certificates: Polled<Certificates>,
}

/// The last answer to a call, and what is wrong since.
#[derive(Debug)]
pub(super) struct Polled<T> {
    value: Option<T>,
    at: Option<Instant>,
    trouble: Option<String>,
}

impl<T> Default for Polled<T> {
    fn default() -> Self {
        Self { value: None, at: None, trouble: None }
    }
}

impl<T: DeserializeOwned> Polled<T> {
    pub(super) fn told(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Something else is asked for from now on.
    fn outdate(&mut self) {
        self.value = None;
    }

    fn take(&mut self, answer: Result<Value, String>, now: Instant) {
        let unread = |error| format!("not an answer of weir's control: {error}");
        match answer.and_then(|body| serde_json::from_value(body).map_err(unread)) {
            Ok(value) => *self = Self { value: Some(value), at: Some(now), trouble: None },
            Err(trouble) => self.trouble = Some(trouble),
        }
    }
}

impl Figures {
    /// Takes an answer, or why there is none.
    pub(super) fn take(&mut self, call: Call, answer: Result<Value, String>, now: Instant) {
        match call {
            Call::Stats => self.stats.take(answer, now),
            Call::Traffic => self.traffic.take(answer, now),
            Call::Popular => self.popular.take(answer, now),
            Call::Uncached => self.uncached.take(answer, now),
            Call::Purges => self.purges.take(answer, now),
            Call::Certificates => self.certificates.take(answer, now),
        }
    }

    /// Of each call, the traffic second: when it was answered last, and what is wrong since.
    fn calls(&self) -> [(Option<Instant>, Option<&str>); 6] {
        fn of<T>(told: &Polled<T>) -> (Option<Instant>, Option<&str>) {
            (told.at, told.trouble.as_deref())
        }
        [
            of(&self.stats),
            of(&self.traffic),
            of(&self.popular),
            of(&self.uncached),
            of(&self.purges),
            of(&self.certificates),
        ]
    }
}

impl State {
    pub(super) fn new(control: String, every: Duration, now: Instant) -> Self {
        Self {
            control,
            every,
            figures: Figures::default(),
            range: Range::default(),
            focus: Pane::Nodes,
            beside: Pane::Urls,
            paused: false,
            help: false,
            begun: now,
            tops: [0; 5],
            orders: [0; 5],
        }
    }

    /// What a pane lists now.
    pub(super) fn listing(&self, pane: Pane) -> Option<Listing> {
        pane.listing(&self.figures, pane.orders()[self.orders[pane.number()]])
    }

    /// The first row of a pane that is shown.
    pub(super) fn top(&self, pane: Pane) -> usize {
        self.tops[pane.number()]
    }

    /// Why what is shown is not of now, or not all there is, with its age.
    pub(super) fn trouble(&self, now: Instant) -> Option<String> {
        if self.paused {
            return None;
        }
        let late = |at: Option<Instant>, every: Duration| {
            now.saturating_duration_since(at.unwrap_or(self.begun)) > every + LATE
        };
        let calls = self.figures.calls();
        let pauses = [self.every, self.range.pause(self.every)];
        let pauses = pauses.into_iter().chain(std::iter::repeat(self.every));
        let wrong = calls.iter().zip(pauses);
        let wrong = wrong.filter(|((at, trouble), every)| trouble.is_some() || late(*at, *every));
        let (old, missing): (Vec<_>, Vec<_>) =
            wrong.map(|(call, _)| call).partition(|(at, _)| at.is_some());
        let oldest = old.into_iter().min_by_key(|(at, _)| *at);
        let (at, trouble) = oldest.or(missing.first().copied())?;
        let what = match at {
            Some(at) => {
                let age = super::words::seconds(now.saturating_duration_since(at).as_secs());
                let some = if missing.is_empty() { "" } else { ", some are missing" };
                format!("figures are {age} old{some}")
            }
            None if calls.iter().any(|(at, _)| at.is_some()) => "some figures are missing".into(),
            None => "no figures yet".to_owned(),
        };
        Some(format!("{what}: {}", trouble.unwrap_or("control has not answered")))
    }

    /// A key, on a screen of this size.
    pub(super) fn press(&mut self, key: KeyEvent, screen: Rect) -> Step {
        if key.kind == KeyEventKind::Release {
            return Step::GoOn;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Step::Quit,
            KeyCode::Char(_) if control => {}
            KeyCode::Esc if self.help => self.help = false,
            KeyCode::Char('q') | KeyCode::Esc => return Step::Quit,
            KeyCode::Char('?' | 'h') => self.help = !self.help,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('r') => self.choose(self.range.longer()),
            KeyCode::Char('R') => self.choose(self.range.shorter()),
            KeyCode::Char('s') => {
                let order = &mut self.orders[self.focus.number()];
                *order = (*order + 1) % self.focus.orders().len();
                self.tops[self.focus.number()] = 0;
            }
            KeyCode::Char(key @ '1'..='5') => self.turn_to(key as usize - '1' as usize),
            KeyCode::Tab => self.turn_to(self.focus.number() + 1),
            KeyCode::BackTab => self.turn_to(self.focus.number() + Pane::ALL.len() - 1),
            code => self.scroll(code, screen),
        }
        Step::GoOn
    }

    /// Another range, whose figures are asked for at once.
    fn choose(&mut self, range: Range) {
        (self.range, self.paused) = (range, false);
        self.figures.traffic.outdate();
    }

    fn turn_to(&mut self, number: usize) {
        self.focus = Pane::ALL[number % Pane::ALL.len()];
        self.help = false;
        if self.focus != Pane::Nodes {
            self.beside = self.focus;
        }
    }

    fn scroll(&mut self, code: KeyCode, screen: Rect) {
        let Some(listing) = self.listing(self.focus) else { return };
        let areas = Areas::of(self, screen);
        let shown = areas.panes.iter().find(|(pane, _)| *pane == self.focus);
        let page = shown.map_or(0, |(_, area)| page(&listing, area.height));
        let last = listing.rows.len().saturating_sub(page);
        let top = &mut self.tops[self.focus.number()];
        // There may be fewer rows than there were.
        let at = (*top).min(last);
        let at = match code {
            KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => at + 1,
            KeyCode::PageUp => at.saturating_sub(page),
            KeyCode::PageDown => at + page,
            KeyCode::Home => 0,
            KeyCode::End => last,
            _ => at,
        };
        *top = at.min(last);
    }
}
