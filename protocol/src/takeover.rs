//! What two processes of one node, or of one control, say to each other while the new one takes over
//! from the old one: one JSON object a line, over a Unix socket that the old one listens on.
//!
//! 1. The new process says [`FromNew::Takeover`]; the old one answers [`FromOld::Offer`] with its
//!    listening sockets (`SCM_RIGHTS`), or [`FromOld::Refused`].
//! 2. The new process prepares a node on these sockets, which accepts nobody yet, and says
//!    [`FromNew::Begins`]. Where control is elsewhere the node joins and catches up. Then the process
//!    says [`FromNew::Prepared`].
//! 3. The old process closes the log, if it has one, and says [`FromOld::Log`].
//! 4. The new process opens the log and says [`FromNew::Opened`]. The node of the old process
//!    follows that log from now on, over connections that begin with [`FromNew::Follow`]. Once it
//!    does, the old process says [`FromOld::Go`].
//! 5. The new process accepts clients and calls, and says [`FromNew::Serving`]. The old process stops
//!    accepting, and says [`FromOld::Draining`].
//!
//! From then on the old process passes on the calls that still reach it, on connections that it had accepted: each
//! over a connection that begins with [`FromNew::Call`].
//!
//! Until the last step, whichever process fails, the old one serves on: it opens the log again if it
//! had closed it. Each line carries [`VERSION`], and a line of another version is refused.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The version of what is said here.
pub const VERSION: u32 = 1;

/// Longest line, bytes.
pub const LONGEST_LINE: usize = 64 << 10;

/// Most bytes of a log in memory.
pub const LONGEST_LOG: u64 = 256 << 20;

/// Most sockets and other files in an offer.
pub const MOST_FILES: usize = 8;

/// A line of the process that takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum FromNew {
    /// The first line: it asks to take over.
    Takeover(Running),
    /// It has a node, which may join control from now on.
    Begins {
        /// What tells the process from others of the same node
        /// ([`Hello::instance`](crate::frame::Hello::instance)).
        instance: Option<String>,
    },
    /// It can serve, and has not begun to.
    Prepared,
    /// It has the log, and takes connections that begin with [`FromNew::Follow`].
    Opened,
    /// It serves.
    Serving,
    /// The first line of another connection, which a node then follows the log over
    /// ([`frame`](crate::frame)).
    Follow,
    /// The first line of another connection, from a process that was taken over from: what follows is a call, in
    /// HTTP/1.1.
    Call {
        /// Who called.
        peer: SocketAddr,
    },
}

/// A line of the process that is taken over from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum FromOld {
    /// There is no takeover.
    Refused {
        /// Why, in words.
        reason: String,
    },
    /// What the new process is to serve on. With this line come the sockets, in this order, and the
    /// lock of the state directory if `lock` says so.
    Offer {
        /// The program's version.
        program: String,
        /// The listening sockets.
        sockets: Vec<Offered>,
        /// Whether the lock comes with them.
        lock: bool,
        /// What tells the process from others of the same node.
        instance: Option<String>,
    },
    /// The log is closed. If it was in memory, it follows this line.
    Log {
        /// How many bytes follow, at most [`LONGEST_LOG`].
        bytes: u64,
    },
    /// The new process is to serve.
    Go,
    /// The old process accepts nothing any more, and ends when its requests have.
    Draining,
}

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// What it is for.
    pub role: Role,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What a listening socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Clients in the clear: `node.listen`.
    Listen,
    /// Clients with TLS: `tls.listen`.
    ListenTls,
    /// Calls: `node.admin`, or `control.listen` of control alone.
    Admin,
}

/// What a process is, as far as the one after it must be the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The node's name; `None` of control alone.
    pub node: Option<String>,
    /// Where its log is.
    pub log: LogPlace,
    /// The program's version.
    pub program: String,
}

/// Where the log of a process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogPlace {
    /// In its memory.
    Memory,
    /// In this directory, `control.data`.
    Directory(PathBuf),
    /// At another control, `control.url`.
    Elsewhere,
}

impl fmt::Display for LogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("neither control.data nor control.url"),
            Self::Directory(path) => write!(f, "control.data = \"{}\"", path.display()),
            Self::Elsewhere => f.write_str("control.url"),
        }
    }
}

impl Running {
    /// Why `new` cannot take over from this process; `None` if it can.
    pub fn refusal(&self, new: &Self) -> Option<String> {
        let kind = |node: &Option<String>| match node {
            Some(name) => format!("weir serve with node.name = \"{name}\""),
            None => "weir control".to_owned(),
        };
        let is = |ours: String, theirs: String| {
            format!("the running process has {ours}, the new one {theirs}: restart it instead")
        };
        if self.node != new.node {
            return Some(is(kind(&self.node), kind(&new.node)));
        }
        (self.log != new.log).then(|| is(self.log.to_string(), new.log.to_string()))
    }
}

/// A line with its version.
#[derive(Serialize)]
struct Versioned<'a, T> {
    takeover: u32,
    #[serde(flatten)]
    line: &'a T,
}

/// The version of a line, whatever else it says.
#[derive(Deserialize)]
struct Version {
    takeover: u32,
}

/// Why bytes are no line.
#[derive(Debug)]
pub enum Misread {
    /// It is of another version.
    Version(u32),
    /// It is not what is said here.
    Malformed(serde_json::Error),
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(other) => write!(
                f,
                "the other process speaks version {other} of the takeover, this one ({}) version \
                 {VERSION}: restart it instead",
                env!("CARGO_PKG_VERSION")
            ),
            Self::Malformed(error) => write!(f, "a malformed line: {error}"),
        }
    }
}

impl std::error::Error for Misread {}

/// Reads a line, without its end.
///
/// # Errors
/// It is of another version, or malformed.
pub fn read<T: DeserializeOwned>(line: &[u8]) -> Result<T, Misread> {
    let Version { takeover } = serde_json::from_slice(line).map_err(Misread::Malformed)?;
    if takeover != VERSION {
        return Err(Misread::Version(takeover));
    }
    serde_json::from_slice(line).map_err(Misread::Malformed)
}

/// Appends a line with its end.
///
/// # Errors
/// It cannot be written as JSON.
pub fn write(out: &mut Vec<u8>, line: &impl Serialize) -> Result<(), serde_json::Error> {
    crate::lines::write_line(out, &Versioned { takeover: VERSION, line })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn running() -> Running {
        Running {
            node: Some("edge-1".to_owned()),
            log: LogPlace::Elsewhere,
            program: "0.1.0".to_owned(),
        }
    }

    #[test]
    fn lines_are_read_as_they_were_written() {
        let address = "127.0.0.1:8080".parse().unwrap();
        let sockets = vec![Offered { role: Role::ListenTls, address }];
        let program = "0.1.0".to_owned();
        let reason = "no".to_owned();
        for line in [
            FromOld::Refused { reason },
            FromOld::Offer { program, sockets, lock: true, instance: Some("a".to_owned()) },
            FromOld::Log { bytes: 7 },
            FromOld::Go,
            FromOld::Draining,
        ] {
            assert_eq!(again(&line), line);
        }
        for line in [
            FromNew::Takeover(running()),
            FromNew::Begins { instance: None },
            FromNew::Prepared,
            FromNew::Opened,
            FromNew::Serving,
            FromNew::Follow,
            FromNew::Call { peer: "[2001:db8::7]:5000".parse().unwrap() },
        ] {
            assert_eq!(again(&line), line);
        }
    }

    fn again<T: Serialize + DeserializeOwned>(line: &T) -> T {
        let mut out = Vec::new();
        write(&mut out, line).unwrap();
        assert_eq!(out.pop(), Some(b'\n'));
        read(&out).unwrap()
    }

    #[test]
    fn another_version_is_refused_by_its_number() {
        let line = br#"{"takeover":2,"say":"something","new":[1]}"#;
        let refused = read::<FromNew>(line).unwrap_err();
        assert!(matches!(refused, Misread::Version(2)));
        let words = refused.to_string();
        assert!(words.contains("version 2") && words.contains("version 1"), "{words}");
    }

    #[test]
    fn only_a_process_of_the_same_kind_takes_over() {
        let old = running();
        assert_eq!(old.refusal(&Running { program: "0.2.0".to_owned(), ..running() }), None);
        for (new, words) in [
            (Running { node: None, ..running() }, "weir control"),
            (Running { node: Some("edge-2".to_owned()), ..running() }, "node.name = \"edge-2\""),
            (
                Running { log: LogPlace::Memory, ..running() },
                "neither control.data nor control.url",
            ),
            (
                Running { log: LogPlace::Directory("/data".into()), ..running() },
                "control.data = \"/data\"",
            ),
        ] {
            let refusal = old.refusal(&new).unwrap();
            assert!(refusal.contains(words), "{refusal}");
        }
    }

    proptest! {
        /// Above all, its version is read from it.
        #[test]
        fn what_is_read_is_written_as_the_same(
            instance in proptest::option::of("[ -~]{0,40}"),
            bytes: u64,
            reason: String,
        ) {
            let begins = FromNew::Begins { instance };
            prop_assert_eq!(again(&begins), begins);
            for line in [FromOld::Log { bytes }, FromOld::Refused { reason }] {
                prop_assert_eq!(again(&line), line);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(line: Vec<u8>) {
            let _ = read::<FromNew>(&line);
            let _ = read::<FromOld>(&line);
        }

        #[test]
        fn no_json_is_taken_without_the_version(say in "[a-z]{1,9}", version: u32) {
            let line = format!("{{\"takeover\":{version},\"say\":\"{say}\"}}");
            // An instance may be left out: control alone has none.
            let known = ["begins", "prepared", "opened", "serving", "follow"].contains(&say.as_str());
            let read = read::<FromNew>(line.as_bytes());
            prop_assert_eq!(read.is_ok(), version == VERSION && known);
        }
    }
}
