//! A terminal of a size, on which a program runs: a pseudo-terminal of the system, with what a
//! terminal makes of the bytes.

use super::program::{unconfigured, until, until_seen};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fmt::{Debug, Formatter};
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A screen, shown in a failure as it looks.
struct Shown(String);

impl Debug for Shown {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "\n{}", self.0)
    }
}

/// Its size is `(columns, rows)`.
pub(crate) struct Terminal {
    child: Child,
    keyboard: File,
    /// Kept open, so that its settings can be asked for after the program ended.
    line: OwnedFd,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// Runs the program on a terminal of its own.
    pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)], size: (u16, u16)) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let control = openpt(flags).expect("a pseudo-terminal");
        grantpt(&control).expect("it is granted");
        unlockpt(&control).expect("it is unlocked");
        let line = ioctl_tiocgptpeer(&control, flags).expect("its line");
        tcsetwinsize(&control, winsize(size)).expect("its size");
        let stdio = || Stdio::from(line.try_clone().expect("a copy of the line"));
        // It controls the session that it runs in, as a user's does: its size is that of /dev/tty.
        let child = unconfigured(Command::new("setsid"))
            .arg("--ctty")
            .arg(env!("CARGO_BIN_EXE_weir"))
            .args(arguments)
            .env("TERM", "xterm-256color")
            .envs(variables.iter().copied())
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .expect("the program starts");
        let screen = Arc::new(Mutex::new(parser(size)));
        let mut shown = File::from(control.try_clone().expect("a copy of the control"));
        let drawn = screen.clone();
        std::thread::spawn(move || {
            let mut part = [0; 65_536];
            // It fails once nobody has the line open any more.
            while let Ok(read @ 1..) = shown.read(&mut part) {
                drawn.lock().unwrap_or_else(PoisonError::into_inner).process(&part[..read]);
            }
        });
        Self { child, keyboard: File::from(control), line, screen }
    }

    /// Types.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Gives it another size, of which the program is told.
    pub(crate) fn resize(&mut self, size: (u16, u16)) {
        let (columns, rows) = cells(size);
        self.parser().screen_mut().set_size(rows, columns);
        tcsetwinsize(&self.keyboard, winsize(size)).expect("its size");
    }

    /// Waits until all of this is on the screen, in words.
    pub(crate) fn until_shows(&self, parts: &[&str]) {
        let shown = |Shown(screen): &Shown| parts.iter().all(|part| screen.contains(part));
        until_seen(&format!("{parts:?} on the screen"), || Shown(self.shown()), shown);
    }

    /// Waits until this is not on the screen any more.
    pub(crate) fn until_gone(&self, part: &str) {
        let gone = |Shown(screen): &Shown| !screen.contains(part);
        until_seen(&format!("{part:?} is gone"), || Shown(self.shown()), gone);
    }

    /// What is on the screen now.
    pub(crate) fn shown(&self) -> String {
        self.parser().screen().contents()
    }

    /// Whether a program has it for itself: another screen, no cursor, each key as it is.
    pub(crate) fn is_taken(&self) -> bool {
        let (alternate, hidden) = {
            let parser = self.parser();
            (parser.screen().alternate_screen(), parser.screen().hide_cursor())
        };
        let modes = tcgetattr(&self.line).expect("its settings").local_modes;
        let raw = !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        assert_eq!((alternate, hidden), (raw, raw), "either all or nothing:\n{}", self.shown());
        raw
    }

    /// Sends the program a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it is there");
    }

    /// The program's exit status, once it ended by itself and all that it wrote is on the screen.
    pub(crate) fn exit_status(&mut self) -> Option<i32> {
        until("it ends", || self.child.try_wait().expect("it can be waited for").is_some());
        let status = self.child.wait().expect("it can be waited for").code();
        until("the terminal is given back", || !self.parser().screen().alternate_screen());
        status
    }

    fn parser(&self) -> MutexGuard<'_, vt100::Parser> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cells((columns, rows): (u16, u16)) -> (NonZero<u16>, NonZero<u16>) {
    (NonZero::new(columns).expect("columns"), NonZero::new(rows).expect("rows"))
}

fn parser(size: (u16, u16)) -> vt100::Parser {
    let (columns, rows) = cells(size);
    vt100::Parser::new(rows, columns, 0)
}

fn winsize((columns, rows): (u16, u16)) -> Winsize {
    Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }
}
