//! Opening the directories of a store, each by a thread of its own.

use super::device::{Attempt, Device};
use super::{Observer, SetAside, Store, StoreDirectory, StoreOptions, watch};
use crate::checkpoint::Checkpoint;
use crate::volume::{OpenError, Opened, Volume, random_secret};
use std::fmt;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How a directory of a store began.
#[derive(Debug)]
pub struct Began {
    /// Its name.
    pub name: String,
    /// What was found in it; `None` if it is set aside, or is still being emptied because the store
    /// had other directories.
    pub opened: Option<Opened>,
}

/// A store cannot be opened.
#[derive(Debug)]
pub enum StoreError {
    /// It has no directory, or more than 1024.
    Directories(usize),
    /// This directory cannot be used with this configuration, or by this version.
    Directory(String, OpenError),
    /// The system has no room for a thread, or no random numbers.
    System(io::Error),
}

/// Directories of a store, at most.
const MOST_DIRECTORIES: usize = 1024;

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directories(count) => {
                write!(f, "a store has 1 to {MOST_DIRECTORIES} directories, not {count}")
            }
            Self::Directory(name, error) => write!(f, "{name}: {error}"),
            Self::System(error) => write!(f, "the system failed: {error}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

type Answer = (usize, Result<(Volume, Opened), OpenError>);

impl Store {
    /// Opens all directories, and waits at most [`StoreOptions::hang`] for them. Those that fail or do
    /// not answer are set aside, and opened anew, empty, like those that fail later.
    ///
    /// What the directories hold may be of different moments: the log must be replayed from the
    /// lowest checkpoint. One whose checkpoint names another log, base or member than the node's must
    /// be emptied by [`Store::clear`] before anything is shown.
    ///
    /// # Errors
    /// A directory is of another version or no store can have its sizes, or the system fails.
    pub fn open(
        directories: Vec<StoreDirectory>,
        options: StoreOptions,
        observer: Observer,
    ) -> Result<(Self, Vec<Began>), StoreError> {
        let count = directories.len();
        if count == 0 || count > MOST_DIRECTORIES {
            return Err(StoreError::Directories(count));
        }
        let device = |(number, directory)| {
            let place = (number as u16, count as u16);
            Arc::new(Device::new(directory, place, options, Arc::clone(&observer)))
        };
        let devices: Arc<[_]> = directories.into_iter().enumerate().map(device).collect();
        let fresh = random_secret()?;
        let attempts = devices.iter().map(|device| device.begin_opening()).collect();
        let until = Instant::now() + options.hang;
        let mut answers = begin(&devices, attempts, fresh)?;
        let secret = answers.first_secret(until)?.unwrap_or(fresh);
        let began = answers.taken(&devices, secret, |_| true);
        let tick = (options.hang / 4).clamp(Duration::from_millis(1), Duration::from_millis(250));
        watch::begin(&devices, secret, tick)?;
        Ok((Self { devices, secret, options }, began))
    }

    /// Opens again what [`Store::close`] closed, and waits for it as [`Store::open`] does. A directory that
    /// has a checkpoint which is not one that `is_ours` accepts, or that another store was made in
    /// meanwhile, is emptied. What could not be closed in time is left as it is.
    ///
    /// # Errors
    /// A directory is of another version now, or the system fails.
    pub fn reopen(&self, is_ours: impl Fn(&Checkpoint) -> bool) -> Result<Vec<Began>, StoreError> {
        let until = Instant::now() + self.options.hang;
        let closed = self.devices.iter().map(|device| {
            // What is read at the end of the life before has a moment.
            device.closed_until(until);
            device.begin_reopening()
        });
        let attempts = closed.collect();
        let mut answers = begin(&self.devices, attempts, self.secret)?;
        answers.first_secret(until)?;
        let is_ours = |opened: &Opened| opened.checkpoint.as_ref().is_none_or(&is_ours);
        Ok(answers.taken(&self.devices, self.secret, is_ours))
    }
}

/// The answers of the threads that open directories.
struct Answers {
    receiver: mpsc::Receiver<Answer>,
    names: Vec<String>,
    of: Vec<Option<(Volume, Opened)>>,
    failed: Vec<Option<SetAside>>,
    /// The life that each directory begins; `None` where it is not opened.
    lives: Vec<Option<u64>>,
}

/// Begins a thread for each directory with an attempt. Those that begin empty take a fresh secret.
fn begin(
    devices: &[Arc<Device>],
    attempts: Vec<Option<Attempt>>,
    fresh: [u8; 16],
) -> io::Result<Answers> {
    let (sender, receiver) = mpsc::channel();
    let lives = attempts.iter().map(|attempt| Some(attempt.as_ref()?.number)).collect();
    for ((number, device), attempt) in devices.iter().enumerate().zip(attempts) {
        let Some(attempt) = attempt else { continue };
        let (device, sender) = (Arc::clone(device), sender.clone());
        let thread = thread::Builder::new().name("weir-disk-open".into());
        thread.spawn(move || {
            let disk = device.open_disk().map_err(OpenError::Disk);
            let opened = disk.and_then(|disk| Volume::open(disk, device.volume_options(fresh)));
            drop(attempt);
            // Too late is as good as never: the volume is let go of.
            drop(sender.send((number, opened)));
        })?;
    }
    let names = devices.iter().map(|device| device.name().to_owned()).collect();
    let of = devices.iter().map(|_| None).collect();
    Ok(Answers { receiver, names, of, failed: devices.iter().map(|_| None).collect(), lives })
}

impl Answers {
    /// Waits for the answers; the secret of the directory that holds the most.
    fn first_secret(&mut self, until: Instant) -> Result<Option<[u8; 16]>, StoreError> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.receiver.recv_timeout(left) {
                Ok((number, Ok(opened))) => self.of[number] = Some(opened),
                Ok((number, Err(OpenError::Disk(error)))) => {
                    self.failed[number] = Some(SetAside::Failed(error.to_string()));
                }
                Ok((number, Err(error))) => {
                    return Err(StoreError::Directory(self.names[number].clone(), error));
                }
                Err(_) => break,
            }
        }
        let opened = self.of.iter().flatten();
        let fullest =
            opened.max_by_key(|(_, opened)| (opened.checkpoint.is_some(), opened.recovered));
        Ok(fullest.map(|(volume, _)| volume.secret()))
    }

    /// Begins the lives of the directories that are of this secret, and accepted; the others are set aside.
    fn taken(
        &mut self,
        devices: &[Arc<Device>],
        secret: [u8; 16],
        is_accepted: impl Fn(&Opened) -> bool,
    ) -> Vec<Began> {
        let mut all = Vec::new();
        for (number, device) in devices.iter().enumerate() {
            let mut began = Began { name: device.name().to_owned(), opened: None };
            if let Some(life) = self.lives[number] {
                match self.of[number].take() {
                    Some((volume, opened)) if volume.secret() == secret && is_accepted(&opened) => {
                        device.opened(life, volume);
                        began.opened = Some(opened);
                    }
                    // Of another secret nothing would be found.
                    Some((volume, _)) => {
                        drop(volume);
                        device.set_aside(life, SetAside::Cleared);
                    }
                    None => {
                        let why = self.failed[number].take().unwrap_or(SetAside::Hangs);
                        device.set_aside(life, why);
                    }
                }
            }
            all.push(began);
        }
        all
    }
}

/// Has a directory opened as an empty one, by a thread of its own.
pub(super) fn open_empty(device: &Arc<Device>, attempt: Attempt, secret: [u8; 16]) {
    let (of_thread, number) = (Arc::clone(device), attempt.number);
    let thread = thread::Builder::new().name("weir-disk-open".into());
    let begun = thread.spawn(move || {
        let device = of_thread;
        let disk = device.open_disk().map_err(OpenError::Disk);
        let options = device.volume_options(secret);
        match disk.and_then(|disk| Volume::empty(disk, options, Some("it was set aside"))) {
            Ok((volume, _)) => device.opened(number, volume),
            Err(error) => device.set_aside(number, SetAside::Failed(error.to_string())),
        }
        drop(attempt);
    });
    if let Err(error) = begun {
        device.set_aside(number, SetAside::Failed(error.to_string()));
    }
}
