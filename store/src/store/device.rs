//! One directory: its status, and the life that it leads now.

use super::life::Life;
use super::{Observer, SetAside, Status, StoreDirectory, StoreOptions};
use crate::counters::Counts;
use crate::disk::{Disk, TimedDisk};
use crate::latency::{Latencies, LatencyCounter};
use crate::volume::{Options, Volume};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// A directory.
pub(super) struct Device {
    directory: StoreDirectory,
    /// Which one of how many.
    place: (u16, u16),
    options: StoreOptions,
    observer: Observer,
    /// How long its device takes, over all lives.
    latencies: Arc<Latencies<LatencyCounter>>,
    state: Mutex<State>,
    /// Told of each change of the status.
    changed: Condvar,
}

/// An attempt to open a directory. There is one at a time.
pub(super) struct Attempt {
    pub(super) number: u64,
    _only: Arc<()>,
}

struct State {
    status: Status,
    /// Since when.
    since: Instant,
    life: Option<Arc<Life>>,
    /// Counts the lives, and the attempts at one.
    lives: u64,
    /// What may still be in use of the life before: its threads are not waited for.
    former: Weak<Volume>,
    /// What was closed in good order: its threads end within moments.
    closed: Weak<Volume>,
    /// Held by the thread that opens it, which is not waited for either.
    attempt: Weak<()>,
    /// What the observer was told last.
    told: Status,
    /// What the lives before counted.
    counted: Counts,
}

impl Device {
    pub(super) fn new(
        directory: StoreDirectory,
        place: (u16, u16),
        options: StoreOptions,
        observer: Observer,
    ) -> Self {
        let state = State {
            status: Status::Opening,
            since: Instant::now(),
            life: None,
            lives: 0,
            former: Weak::new(),
            closed: Weak::new(),
            attempt: Weak::new(),
            told: Status::Opening,
            counted: Counts::default(),
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let latencies = Arc::default();
        Self { directory, place, options, observer, latencies, state, changed }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn name(&self) -> &str {
        &self.directory.name
    }

    /// Opens its files. May wait for the device.
    pub(super) fn open_disk(&self) -> io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(TimedDisk::new((self.directory.open)()?, &self.latencies)))
    }

    pub(super) fn latencies(&self) -> Latencies {
        self.latencies.get()
    }

    pub(super) fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// What its volume is opened with.
    pub(super) fn volume_options(&self, secret: [u8; 16]) -> Options {
        let (geometry, queue, place) = (self.directory.geometry, self.options.queue, self.place);
        Options { geometry, queue, secret: Some(secret), place }
    }

    pub(super) fn status(&self) -> Status {
        self.state().status.clone()
    }

    pub(super) fn since(&self) -> Instant {
        self.state().since
    }

    pub(super) fn life(&self) -> Option<Arc<Life>> {
        self.state().life.clone()
    }

    pub(super) fn volume(&self) -> Option<Arc<Volume>> {
        self.life().map(|life| Arc::clone(life.volume()))
    }

    pub(super) fn counts(&self) -> Counts {
        let state = self.state();
        let mut counts = state.counted;
        if let Some(life) = &state.life {
            counts += life.volume().counts();
        }
        counts
    }

    fn change(&self, state: &mut State, status: Status) {
        // Attempts to open it again are nothing new.
        let is_news = match (&state.told, &status) {
            (_, Status::Opening) | (Status::SetAside(_), Status::SetAside(_)) => false,
            (told, status) => told != status,
        };
        if is_news {
            state.told = status.clone();
            (self.observer)(&self.directory.name, &status);
        }
        (state.status, state.since) = (status, Instant::now());
        self.changed.notify_all();
    }

    /// An attempt to open it begins. `None`: it is not set aside, or something of the life
    /// before is in use yet.
    pub(super) fn begin_opening(&self) -> Option<Attempt> {
        let mut state = self.state();
        let may_begin = match state.status {
            Status::SetAside(SetAside::Cleared) => true,
            Status::SetAside(_) => state.since.elapsed() >= self.options.retry,
            Status::Opening => state.lives == 0,
            Status::Working | Status::Closed => false,
        };
        let is_in_use = state.former.strong_count() > 0 || state.attempt.strong_count() > 0;
        (may_begin && !is_in_use).then(|| self.begin_attempt(&mut state))
    }

    /// An attempt to open it again after it was closed begins. `None`: it was not, or something of the life
    /// before is in use yet.
    pub(super) fn begin_reopening(&self) -> Option<Attempt> {
        let mut state = self.state();
        let is_in_use = state.former.strong_count() > 0 || state.attempt.strong_count() > 0;
        (state.status == Status::Closed && !is_in_use).then(|| self.begin_attempt(&mut state))
    }

    fn begin_attempt(&self, state: &mut State) -> Attempt {
        state.lives += 1;
        self.change(state, Status::Opening);
        let only = Arc::new(());
        state.attempt = Arc::downgrade(&only);
        Attempt { number: state.lives, _only: only }
    }

    /// It was opened: a life begins, unless nobody waits for this one any more.
    pub(super) fn opened(self: &Arc<Self>, number: u64, volume: Volume) {
        let volume = Arc::new(volume);
        let mut state = self.state();
        if state.lives != number || state.status != Status::Opening {
            return;
        }
        match Life::begin(self, number, &volume) {
            Ok(life) => {
                state.life = Some(life);
                self.change(&mut state, Status::Working);
            }
            Err(error) => {
                let why = SetAside::Failed(error.to_string());
                self.change(&mut state, Status::SetAside(why));
            }
        }
    }

    /// The life with this number, or the attempt at it, is over. Only the first reason counts.
    pub(super) fn set_aside(&self, number: u64, why: SetAside) {
        let mut state = self.state();
        let is_on = matches!(state.status, Status::Opening | Status::Working);
        if state.lives != number || !is_on {
            return;
        }
        Self::end_life(&mut state);
        self.change(&mut state, Status::SetAside(why));
    }

    /// Ends the life, to begin another one at the watch's next look.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        if state.status == Status::Working {
            Self::end_life(&mut state);
            self.change(&mut state, Status::SetAside(SetAside::Cleared));
        }
    }

    fn end_life(state: &mut State) {
        if let Some(life) = state.life.take() {
            life.end();
            state.former = Arc::downgrade(life.volume());
            state.counted += life.volume().counts();
        }
    }

    /// The number of the life, or of the attempt at one.
    pub(super) fn lives(&self) -> u64 {
        self.state().lives
    }

    pub(super) fn begin_close(&self) {
        let life = self.life();
        match life {
            Some(life) => life.begin_close(),
            None => self.end(),
        }
    }

    /// Waits until it is closed, and its files with it, or the time has come; whether it is.
    pub(super) fn closed_until(&self, until: Instant) -> bool {
        const LOOK: Duration = Duration::from_millis(1);
        if !self.wait(until, |status| *status == Status::Closed) {
            return false;
        }
        while self.state().closed.strong_count() > 0 {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }

    fn wait(&self, until: Instant, is_it: impl Fn(&Status) -> bool) -> bool {
        let mut state = self.state();
        loop {
            if is_it(&state.status) {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// It is not used any more.
    pub(super) fn end(&self) {
        let mut state = self.state();
        if let Some(life) = &state.life {
            state.closed = Arc::downgrade(life.volume());
        }
        Self::end_life(&mut state);
        self.change(&mut state, Status::Closed);
    }
}
