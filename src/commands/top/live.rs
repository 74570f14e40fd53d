//! The terminal: taken, drawn to at each answer and key, and given back however it ends.

use super::draw::draw;
use super::poll::{Call, Failure, Outcome, poll};
use super::range::Range;
use super::state::{State, Step};
use crate::client::Client;
use crossterm::event::{Event, read};
use ratatui::DefaultTerminal;
use ratatui::layout::Rect;
use std::io;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// How often the age of the figures is redrawn if nothing else happens.
const TICK: Duration = Duration::from_secs(1);

/// Outcomes and keys that may wait to be taken.
const WAITING: usize = 32;

/// The terminal, restored on drop. A panic restores it too, before its message is printed.
struct Screen(DefaultTerminal);

impl Screen {
    fn take() -> io::Result<Self> {
        let taken = ratatui::try_init().map(Self);
        if taken.is_err() {
            // It may be half taken.
            ratatui::restore();
        }
        taken
    }

    fn draw(&mut self, state: &State, coloured: bool) -> io::Result<Rect> {
        let shown =
            self.0.draw(|frame| draw(state, Instant::now(), coloured, frame.buffer_mut()))?;
        Ok(shown.area)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal may be gone, which is why this ends: an error has no reader.
        let _ = self.0.show_cursor();
        // A second time would put the cursor where it was before the panic was told.
        if !std::thread::panicking() {
            let _ = ratatui::try_restore();
        }
    }
}

/// Shows control's answers until the user quits.
///
/// # Errors
/// Why it ended otherwise, in words.
pub(super) async fn run(client: &Client, state: State, coloured: bool) -> Result<(), String> {
    let every = state.every;
    let (outcomes, answered) = mpsc::channel(WAITING);
    let (pause, paused) = watch::channel(false);
    let (choose, chosen) = watch::channel(state.range);
    let ask =
        |call: Call| poll(client, call, every, paused.clone(), chosen.clone(), outcomes.clone());
    let [stats, traffic, popular, uncached, purges, certificates] = Call::ALL.map(ask);
    // Before the terminal is taken: from then on no signal may end the process by itself.
    let signals = signals().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let mut screen = Screen::take().map_err(|error| format!("no terminal: {error}"))?;
    // In this task, so that a panic anywhere unwinds through the screen.
    let asking = async { tokio::join!(stats, traffic, popular, uncached, purges, certificates) };
    tokio::select! {
        ended = show(&mut screen, state, coloured, answered, (pause, choose)) => ended,
        _ = asking => Ok(()),
        () = told_to_end(signals) => Ok(()),
    }
}

async fn show(
    screen: &mut Screen,
    mut state: State,
    coloured: bool,
    mut answered: mpsc::Receiver<Outcome>,
    (pause, choose): (watch::Sender<bool>, watch::Sender<Range>),
) -> Result<(), String> {
    let unwritable = |error: io::Error| format!("cannot write to the terminal: {error}");
    let mut events = events();
    let mut tick = tokio::time::interval(TICK);
    loop {
        let size = screen.draw(&state, coloured).map_err(unwritable)?;
        tokio::select! {
            Some(Outcome { call, range, answer }) = answered.recv() => {
                let answer = match answer {
                    Err(Failure::Refused(reason)) => return Err(reason),
                    Err(Failure::Trouble(reason)) => Err(reason),
                    Ok(body) => Ok(body),
                };
                // What was on its way would change the picture.
                if !state.paused && (call != Call::Traffic || range == state.range) {
                    state.figures.take(call, answer, Instant::now());
                }
            }
            event = events.recv() => match event {
                Some(Ok(Event::Key(key))) => {
                    if state.press(key, size) == Step::Quit {
                        return Ok(());
                    }
                    pause.send_replace(state.paused);
                    choose.send_if_modified(|chosen| {
                        std::mem::replace(chosen, state.range) != state.range
                    });
                }
                // A new size, or an event that is ignored: redraw.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(format!("cannot read from the terminal: {error}")),
                None => return Err("cannot read from the terminal".to_owned()),
            },
            _ = tick.tick() => {}
        }
    }
}

/// Events of the terminal. Reading blocks, so it has a thread, which ends with the process.
fn events() -> mpsc::Receiver<io::Result<Event>> {
    let (send, events) = mpsc::channel(WAITING);
    std::thread::spawn(move || {
        loop {
            let event = read();
            let ends = event.is_err();
            if send.blocking_send(event).is_err() || ends {
                return;
            }
        }
    });
    events
}

/// Listens for the signals that end the process.
fn signals() -> io::Result<[Signal; 3]> {
    let interrupt = signal(SignalKind::interrupt())?;
    Ok([signal(SignalKind::terminate())?, interrupt, signal(SignalKind::hangup())?])
}

async fn told_to_end([mut one, mut another, mut third]: [Signal; 3]) {
    tokio::select! {
        _ = one.recv() => {}
        _ = another.recv() => {}
        _ = third.recv() => {}
    }
}
