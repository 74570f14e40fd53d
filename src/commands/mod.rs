//! The commands, one file each.

mod certificates;
mod check;
mod completions;
mod control;
mod demo;
mod explain;
mod healthcheck;
mod man;
mod nodes;
mod purge;
mod purges;
mod release;
mod reload;
mod running;
mod serve;
mod sign;
mod simulate;
mod store;
mod token;
mod top;
mod warm;

use crate::client::{Answer, Client};
use crate::text::harmless;
use clap::{Args, Subcommand};
pub(crate) use control::to_etcd;
use serde_json::Value;
use std::future::Future;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use weir_rules::shown::shown_json;

/// The commands of `weir`; each documents itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(serve::Serve),
    Control(control::Control),
    Demo(demo::Demo),
    Purge(purge::Purge),
    Warm(warm::Warm),
    Release(release::Release),
    Explain(explain::Explain),
    Nodes(nodes::Nodes),
    Purges(purges::Purges),
    Certificates(certificates::Certificates),
    Top(top::Top),
    Reload(reload::Reload),
    Token(token::Token),
    Sign(sign::Sign),
    Check(check::Check),
    Store(store::Store),
    Simulate(simulate::Simulate),
    Healthcheck(healthcheck::Healthcheck),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Command {
    /// Runs the command.
    pub(crate) fn run(self) -> Exit {
        match self.ended() {
            Exit::Done if UNPRINTED.load(Ordering::Relaxed) => Exit::Failed,
            exit => exit,
        }
    }

    fn ended(self) -> Exit {
        match self {
            Self::Serve(serve) => serve.run(),
            Self::Control(control) => control.run(),
            Self::Demo(demo) => demo.run(),
            Self::Sign(sign) => sign.run(),
            Self::Check(check) => check.run(),
            Self::Store(store) => store.run(),
            Self::Simulate(simulate) => simulate.run(),
            Self::Token(token) => token.run(),
            Self::Completions(completions) => completions.run(),
            Self::Man(man) => man.run(),
            Self::Purge(purge) => block_on(purge.run()),
            Self::Explain(explain) => block_on(explain.run()),
            Self::Nodes(nodes) => block_on(nodes.run()),
            Self::Purges(purges) => block_on(purges.run()),
            Self::Certificates(certificates) => block_on(certificates.run()),
            Self::Top(top) => block_on(top.run()),
            Self::Warm(warm) => block_on(warm.run()),
            Self::Release(release) => block_on(release.run()),
            Self::Reload(reload) => block_on(reload.run()),
            Self::Healthcheck(healthcheck) => block_on(healthcheck.run()),
        }
    }
}

/// Prints what the arguments ask for in place of a command: help, the version, or what is wrong with
/// them.
pub(crate) fn printed_instead(instead: &clap::Error) -> Exit {
    let printed = instead.print().and_then(|()| std::io::stdout().flush());
    match instead.use_stderr() {
        true => Exit::Usage,
        false => {
            unless_printed(printed);
            if UNPRINTED.load(Ordering::Relaxed) { Exit::Failed } else { Exit::Done }
        }
    }
}

/// How a command ended: its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done.
    Done,
    /// 1: failed.
    Failed,
    /// 2: usage error.
    Usage,
    /// 3: accepted, but not complete in time.
    Incomplete,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => ExitCode::SUCCESS,
            Exit::Failed => ExitCode::from(1),
            Exit::Usage => ExitCode::from(2),
            Exit::Incomplete => ExitCode::from(3),
        }
    }
}

/// Which control a client command speaks to.
#[derive(Debug, Args)]
pub(crate) struct ControlArgs {
    /// URL of control; the token comes from WEIR_TOKEN, or from the file named by WEIR_TOKEN_FILE
    #[arg(long, value_name = "URL", env = "WEIR_CONTROL", default_value = "http://127.0.0.1:9090")]
    control: String,
    /// PEM file with further certificate authorities to trust, if control is behind https
    #[arg(long, value_name = "FILE", env = "WEIR_CA")]
    ca: Option<PathBuf>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

impl ControlArgs {
    /// A client of that control; a usage error if the URL or the token is wrong.
    fn client(&self) -> Result<Client, Exit> {
        let token = token::of_environment().map_err(|reason| complain(&reason, Exit::Usage))?;
        self.client_with(token)
    }

    /// A client for calls that need no token; a usage error if the URL is wrong.
    fn client_without_token(&self) -> Result<Client, Exit> {
        self.client_with(None)
    }

    fn client_with(&self, token: Option<String>) -> Result<Client, Exit> {
        let client = Client::new(&self.control, token, self.ca.as_deref());
        client.map_err(|reason| complain(&reason, Exit::Usage))
    }

    /// Prints control's answer, as JSON or in `words`; returns its body. If control cannot be
    /// reached, or refuses, prints the reason; the command has then failed.
    fn show(
        &self,
        answer: Result<Answer, String>,
        words: impl FnOnce(&Value) -> String,
    ) -> Result<Value, Exit> {
        let answer = answer.map_err(|reason| complain(&reason, Exit::Failed))?;
        // RFC 9110 §15.3.5: a 204 has no body.
        if self.json && answer.status != 204 {
            print_json(&answer.body);
        }
        if !answer.is_success() {
            return Err(complain(&answer.refusal(), refused(&answer)));
        }
        if !self.json {
            print(&words(&answer.body));
        }
        Ok(answer.body)
    }
}

/// How a command ends that control refused: what it was asked for is wrong in itself, or control could
/// not do it.
fn refused(answer: &Answer) -> Exit {
    match answer.is_usage_error() {
        true => Exit::Usage,
        false => Exit::Failed,
    }
}

/// Prints an error to standard error.
fn complain(reason: &str, exit: Exit) -> Exit {
    let lines: Vec<_> = reason.split('\n').map(harmless).collect();
    tell(&format!("weir: {}\n", lines.join("\n")));
    exit
}

/// Prints to standard error. Its terminal or its reader may be gone; that ends nothing, and there is
/// nobody to tell.
fn tell(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Whether something could not be printed: the command has then failed, whatever it did.
static UNPRINTED: AtomicBool = AtomicBool::new(false);

/// Prints to standard output; a reader that went away is no failure of ours.
fn print(text: &str) {
    let mut output = std::io::stdout().lock();
    unless_printed(output.write_all(text.as_bytes()).and_then(|()| output.flush()));
}

/// Notes that something could not be printed, and says so once.
fn unless_printed(printed: std::io::Result<()>) {
    if let Err(error) = printed
        && error.kind() != ErrorKind::BrokenPipe
        && !UNPRINTED.swap(true, Ordering::Relaxed)
    {
        complain(&format!("cannot write to standard output: {error}"), Exit::Failed);
    }
}

/// Prints an answer's body as JSON.
fn print_json(body: &Value) {
    print(&format!("{}\n", shown_json(&format!("{body:#}"))));
}

/// Runs a client command on this thread.
fn block_on(command: impl Future<Output = Exit>) -> Exit {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => complain(&format!("cannot start: {error}"), Exit::Failed),
    }
}
