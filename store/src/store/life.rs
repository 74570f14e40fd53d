//! A life of a directory: from when it is opened until it is set aside or closed. It has one thread
//! that writes, one that commits, and some that read. Nobody waits for them: each ends by itself when
//! the device lets go of it.

use super::device::Device;
use super::{SetAside, StoreOptions};
use crate::journal::Moment;
use crate::volume::Volume;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Bytes that are written before something else is looked after.
const WORK: usize = 4 << 20;

/// Reads that fail one after the other before the directory is set aside.
const MOST_FAILED_READS: u32 = 16;

/// Something for a reader to do.
pub(super) type Job = Box<dyn FnOnce(&Life) + Send>;

/// What a thread does.
type Run = Box<dyn FnOnce(&Life, &Device) + Send>;

/// A life.
pub(super) struct Life {
    number: u64,
    volume: Arc<Volume>,
    begun: Instant,
    options: StoreOptions,
    has_ended: AtomicBool,
    is_closing: AtomicBool,
    waits: Mutex<Waits>,
    /// One for each kind of thread.
    to_write: Condvar,
    to_commit: Condvar,
    to_read: Condvar,
    /// For each thread the time since `begun` at which it went to the device, in milliseconds and one
    /// more; 0 while it is not there.
    busy: Box<[AtomicU64]>,
    failed_reads: AtomicU32,
}

/// What waits for the threads.
#[derive(Default)]
struct Waits {
    is_rung: bool,
    commits: Vec<(Moment, oneshot::Sender<()>)>,
    jobs: VecDeque<Job>,
}

const WRITER: usize = 0;
const COMMITTER: usize = 1;
const FIRST_READER: usize = 2;

impl Life {
    /// Begins the threads.
    ///
    /// # Errors
    /// The system has no room for one more.
    pub(super) fn begin(
        device: &Arc<Device>,
        number: u64,
        volume: &Arc<Volume>,
    ) -> io::Result<Arc<Self>> {
        let options = *device.options();
        let readers = options.readers.max(1);
        let life = Arc::new(Self {
            number,
            volume: Arc::clone(volume),
            begun: Instant::now(),
            options,
            has_ended: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            waits: Mutex::default(),
            to_write: Condvar::new(),
            to_commit: Condvar::new(),
            to_read: Condvar::new(),
            busy: (0..FIRST_READER + readers).map(|_| AtomicU64::new(0)).collect(),
            failed_reads: AtomicU32::new(0),
        });
        let begin = |name: &str, run: Run| {
            let (life, device) = (Arc::clone(&life), Arc::clone(device));
            let thread = thread::Builder::new().name(format!("weir-disk-{name}"));
            thread.spawn(move || run(&life, &device)).map(drop)
        };
        let all = begin("write", Box::new(Self::write))
            .and_then(|()| begin("sync", Box::new(Self::commit)))
            .and_then(|()| {
                (0..readers).try_for_each(|reader| {
                    let read = move |life: &Self, device: &Device| life.read(device, reader);
                    begin("read", Box::new(read))
                })
            });
        all.inspect_err(|_| life.end())?;
        Ok(life)
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn volume(&self) -> &Arc<Volume> {
        &self.volume
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Threads end when they come back, and whatever waits for them is told at once.
    pub(super) fn end(&self) {
        let dropped = {
            let mut waits = self.waits();
            self.has_ended.store(true, Ordering::Release);
            std::mem::take(&mut *waits)
        };
        drop(dropped);
        self.wake();
        self.volume.set_aside();
    }

    fn wake(&self) {
        self.to_write.notify_all();
        self.to_commit.notify_all();
        self.to_read.notify_all();
    }

    pub(super) fn begin_close(&self) {
        let waits = self.waits();
        self.is_closing.store(true, Ordering::Release);
        drop(waits);
        self.wake();
    }

    /// Something waits to be written.
    pub(super) fn ring(&self) {
        let mut waits = self.waits();
        if !waits.is_rung {
            waits.is_rung = true;
            self.to_write.notify_one();
        }
    }

    /// Asks for a commit. The receiver is told when the moment is durable, or that it will not be.
    pub(super) fn ask_commit(&self, moment: Moment) -> oneshot::Receiver<()> {
        let (done, receiver) = oneshot::channel();
        let mut waits = self.waits();
        if !self.has_ended() {
            waits.commits.push((moment, done));
            self.to_commit.notify_one();
        }
        receiver
    }

    /// Asks for a thread. `false`: too much waits for one.
    pub(super) fn ask_reader(&self, job: Job) -> bool {
        let mut waits = self.waits();
        if self.has_ended() || waits.jobs.len() >= self.options.reads {
            return false;
        }
        waits.jobs.push_back(job);
        self.to_read.notify_one();
        true
    }

    /// How long a thread is at the device now, at most.
    pub(super) fn longest(&self) -> Duration {
        let now = self.begun.elapsed();
        let since = self.busy.iter().map(|busy| busy.load(Ordering::Relaxed));
        let since = since.filter(|since| *since > 0).min();
        since.map_or(Duration::ZERO, |since| {
            now.saturating_sub(Duration::from_millis(since.saturating_sub(1)))
        })
    }

    fn at_device<T>(&self, thread: usize, work: impl FnOnce() -> T) -> T {
        let since = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1;
        self.busy[thread].store(since, Ordering::Relaxed);
        let done = work();
        self.busy[thread].store(0, Ordering::Relaxed);
        done
    }

    /// Whether a read of the device was done. Too many that were not, one after the other, are a
    /// device that failed.
    pub(super) fn note_read(&self, failed: bool) {
        match failed {
            true => drop(self.failed_reads.fetch_add(1, Ordering::Relaxed)),
            false => self.failed_reads.store(0, Ordering::Relaxed),
        }
    }

    /// Whether the device has failed, and how.
    pub(super) fn failure(&self) -> Option<SetAside> {
        if self.volume.has_failed() {
            let error = self.volume.failure().unwrap_or("an unknown error");
            return Some(SetAside::Failed(error.to_owned()));
        }
        let failed = self.failed_reads.load(Ordering::Relaxed) >= MOST_FAILED_READS;
        failed.then(|| SetAside::Failed(format!("{MOST_FAILED_READS} reads in a row failed")))
    }

    fn look_after(&self, device: &Device) {
        if let Some(why) = self.failure() {
            device.set_aside(self.number, why);
        }
    }

    fn write(&self, device: &Device) {
        let mut settled = Instant::now();
        while !self.has_ended() {
            if self.is_closing.load(Ordering::Acquire) {
                match self.at_device(WRITER, || self.volume.close()) {
                    Ok(()) => device.end(),
                    Err(error) => {
                        device.set_aside(self.number, SetAside::Failed(error.to_string()));
                    }
                }
                return;
            }
            let mut is_left = self.at_device(WRITER, || self.volume.work(WORK));
            if settled.elapsed() >= self.options.settle {
                // Its failure is the volume's.
                is_left |= self.at_device(WRITER, || self.volume.settle()).is_err();
                settled = Instant::now();
            }
            self.look_after(device);
            let waits = self.waits();
            let may_wait = |waits: &mut Waits| {
                !waits.is_rung && !self.has_ended() && !self.is_closing.load(Ordering::Acquire)
            };
            let wait = if is_left { Duration::ZERO } else { self.options.settle };
            let waited = self.to_write.wait_timeout_while(waits, wait, may_wait);
            waited.unwrap_or_else(PoisonError::into_inner).0.is_rung = false;
        }
    }

    fn commit(&self, device: &Device) {
        loop {
            let waits = self.waits();
            let may_wait = |waits: &mut Waits| waits.commits.is_empty() && !self.has_ended();
            let waited = self.to_commit.wait_while(waits, may_wait);
            let mut waits = waited.unwrap_or_else(PoisonError::into_inner);
            let commits = std::mem::take(&mut waits.commits);
            drop(waits);
            let Some(last) = commits.iter().map(|(moment, _)| *moment).max() else { return };
            let committed = self.at_device(COMMITTER, || self.volume.commit(last));
            match committed {
                Ok(()) => {
                    for (_, done) in commits {
                        // Whoever asked may have left.
                        let _left = done.send(());
                    }
                }
                Err(_) => self.look_after(device),
            }
        }
    }

    fn read(&self, device: &Device, reader: usize) {
        loop {
            let waits = self.waits();
            let may_wait = |waits: &mut Waits| waits.jobs.is_empty() && !self.has_ended();
            let waited = self.to_read.wait_while(waits, may_wait);
            let job = waited.unwrap_or_else(PoisonError::into_inner).jobs.pop_front();
            let Some(job) = job else { return };
            self.at_device(FIRST_READER + reader, || job(self));
            self.look_after(device);
        }
    }
}
