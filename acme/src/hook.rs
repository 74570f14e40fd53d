//! The hook: a command of the operator's that sets and removes DNS records.

use rustix::process::{Pid, Signal, kill_process_group};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, Command};
use tokio::time::timeout;
use weir_config::DnsHook;

/// Bytes of what the hook prints that are told.
const TOLD: usize = 400;

/// Bytes that are read of it.
const READ: usize = 64 << 10;

/// How long is read on once the hook has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A record that proves a host (RFC 8555 §8.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The host, as it is ordered: it may begin with `*.`.
    pub(crate) host: String,
    /// The value of the TXT record.
    pub(crate) value: String,
}

impl Record {
    /// The record's name, with the dot of the root.
    fn name(&self) -> String {
        format!("_acme-challenge.{}.", self.host.trim_start_matches("*."))
    }
}

/// Calls the hook, and knows which record is still set. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records(Arc<Mutex<Option<(DnsHook, Record)>>>);

impl Records {
    /// Has the record set; when this returns, it is to be seen by the CA.
    ///
    /// # Errors
    /// The hook's, in words.
    pub(crate) async fn set(&self, hook: &DnsHook, record: Record) -> Result<(), String> {
        // Before the call: one that fails may have set something.
        *self.lock() = Some((hook.clone(), record.clone()));
        call(hook, "present", &record).await
    }

    /// Has the record removed that is set, if one is. What fails is logged: it does no harm.
    pub(crate) async fn clean_up(&self) {
        let Some((hook, record)) = self.lock().take() else { return };
        if let Err(error) = call(&hook, "cleanup", &record).await {
            tracing::warn!(host = record.host, error, "tls.acme: the DNS record stays");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(DnsHook, Record)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the hook with `action`, the record's name and its value as its last arguments.
async fn call(hook: &DnsHook, action: &str, record: &Record) -> Result<(), String> {
    let Some((program, arguments)) = hook.command.split_first() else {
        return Err("tls.acme.dns_hook: no program".to_owned());
    };
    let name = record.name();
    let failed = |error: String| format!("tls.acme.dns_hook {action} {name}: {error}");
    let mut command = Command::new(program);
    command
        .args(arguments)
        .args([action, &name, &record.value])
        .env("WEIR_ACME_ACTION", action)
        .env("WEIR_ACME_HOST", &record.host)
        .env("WEIR_ACME_NAME", &name)
        .env("WEIR_ACME_VALUE", &record.value)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let mut group = Group(child.id());
    let mut stderr = child.stderr.take();
    let mut said = Vec::new();
    let running = async {
        let reading = read(stderr.as_mut(), &mut said);
        tokio::pin!(reading);
        tokio::select! {
            // What it has started may hold its end of the pipe open.
            status = child.wait() => {
                let _ = timeout(LAST_WORDS, &mut reading).await;
                status
            }
            () = &mut reading => child.wait().await,
        }
    };
    let Ok(status) = timeout(hook.timeout, running).await else {
        let timeout = hook.timeout;
        return Err(failed(format!("not done within {timeout:?} (tls.acme.dns_timeout)")));
    };
    group.0 = None;
    let status = status.map_err(|error| failed(error.to_string()))?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let last: String = said.trim().chars().rev().take(TOLD).collect();
    let last: String = last.chars().rev().collect();
    Err(failed(if last.is_empty() { status.to_string() } else { format!("{status}: {last}") }))
}

/// Reads all that the hook says, so that it does not wait for a reader, and keeps the beginning.
async fn read(stderr: Option<&mut ChildStderr>, said: &mut Vec<u8>) {
    let Some(stderr) = stderr else { return };
    let mut part = [0; 4096];
    while let Ok(read @ 1..) = stderr.read(&mut part).await {
        let room = READ.saturating_sub(said.len());
        said.extend_from_slice(&part[..read.min(room)]);
    }
}

/// The hook, and what it has started: ended when this is dropped, unless the hook has ended by itself.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let id = self.0.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(group) = id {
            // It may have ended meanwhile.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn hook(script: &str) -> DnsHook {
        let command = ["/bin/sh", "-c", script, "hook"].map(str::to_owned).to_vec();
        DnsHook { command, timeout: Duration::from_secs(20) }
    }

    fn record() -> Record {
        Record { host: "*.a.test".to_owned(), value: "v".to_owned() }
    }

    #[tokio::test]
    async fn it_is_told_what_to_do_in_arguments_and_environment_and_cleans_up_once() {
        let path = std::env::temp_dir().join(format!("weir-hook-{}", std::process::id()));
        let script = format!(
            "echo \"$@ $WEIR_ACME_ACTION $WEIR_ACME_HOST $WEIR_ACME_NAME $WEIR_ACME_VALUE\" >> {}",
            path.display()
        );
        let records = Records::default();
        records.set(&hook(&script), record()).await.unwrap();
        records.clean_up().await;
        records.clean_up().await;
        let told = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let name = "_acme-challenge.a.test.";
        let line = |action: &str| format!("{action} {name} v {action} *.a.test {name} v\n");
        assert_eq!(told, format!("{}{}", line("present"), line("cleanup")));
    }

    #[tokio::test]
    async fn what_it_says_is_told_where_it_fails() {
        let records = Records::default();
        let failing = hook("echo no such zone >&2; exit 3");
        let told = records.set(&failing, record()).await.unwrap_err();
        assert!(told.contains("present _acme-challenge.a.test.") && told.contains("no such zone"));
        assert!(told.contains('3'), "{told}");
        let missing = DnsHook { command: vec!["/nonexistent".to_owned()], ..failing };
        assert!(records.set(&missing, record()).await.is_err());
    }

    #[tokio::test]
    async fn it_has_an_end() {
        let slow = DnsHook { timeout: Duration::from_millis(200), ..hook("sleep 300 & wait") };
        let begin = Instant::now();
        let told = Records::default().set(&slow, record()).await.unwrap_err();
        assert!(told.contains("tls.acme.dns_timeout"), "{told}");
        assert!(begin.elapsed() < Duration::from_secs(60));
    }

    #[tokio::test]
    async fn what_it_leaves_running_holds_up_nothing() {
        let begin = Instant::now();
        Records::default().set(&hook("sleep 100 & exit 0"), record()).await.unwrap();
        assert!(begin.elapsed() < Duration::from_secs(15));
    }
}
