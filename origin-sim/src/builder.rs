//! How an origin starts: where, with which routes and bounds.

use crate::files::Files;
use crate::ledger::Ledger;
use crate::route::Route;
use crate::routes::Routes;
use crate::script::Script;
use crate::{Origin, OriginState, server};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How an origin starts.
#[derive(Debug)]
pub struct Builder {
    listen: SocketAddr,
    routes: Routes,
    files: Option<Files>,
    keep_requests: usize,
    max_body: u64,
    control: bool,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            routes: Routes::default(),
            files: None,
            keep_requests: 65_536,
            max_body: 4 << 30,
            control: false,
        }
    }
}

impl Builder {
    /// Where to listen; loopback at a port chosen by the system by default.
    pub fn listen(mut self, addr: SocketAddr) -> Builder {
        self.listen = addr;
        self
    }

    /// See [`Origin::route`].
    pub fn route(mut self, name: &str, route: impl Into<Route>) -> Builder {
        self.routes.set(name, route.into());
        self
    }

    /// See [`Origin::default_route`].
    pub fn default_route(mut self, route: impl Into<Route>) -> Builder {
        self.routes.set_default(route.into());
        self
    }

    /// All routes of a script.
    pub fn script(mut self, script: Script) -> Builder {
        script.set(&mut self.routes);
        self
    }

    /// Serves the folder `root`: `max_age` seconds of Cache-Control if any, each answer after
    /// `delay`.
    pub fn files(mut self, root: PathBuf, max_age: Option<u64>, delay: Duration) -> Builder {
        self.files = Some(Files { root, max_age, delay });
        self
    }

    /// How many of the last requests are kept in full; 65,536 by default. Counts stay exact.
    pub fn keep_requests(mut self, keep: usize) -> Builder {
        self.keep_requests = keep;
        self
    }

    /// The largest request body in bytes, 4 GiB by default; a larger one is answered 413.
    pub fn max_body(mut self, bytes: u64) -> Builder {
        self.max_body = bytes;
        self
    }

    /// Whether the control endpoints under `/__sim/` answer; off by default, so that they shadow
    /// no scripted route.
    pub fn control(mut self, control: bool) -> Builder {
        self.control = control;
        self
    }

    /// Binds and serves on the current tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(self) -> io::Result<Origin> {
        let listener = TcpListener::bind(self.listen).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(OriginState {
            routes: Mutex::new(self.routes),
            ledger: Arc::new(Ledger::new(self.keep_requests)),
            files: self.files,
            control: self.control,
            max_body: self.max_body,
            open: watch::Sender::new(true),
        });
        let server = tokio::spawn(server::serve(shared.clone(), listener));
        Ok(Origin { shared, addr, server: Mutex::new(Some(server)) })
    }

    /// [`Builder::bind`], for tests.
    ///
    /// # Panics
    /// When the address cannot be bound.
    pub async fn start(self) -> Origin {
        let listen = self.listen;
        match self.bind().await {
            Ok(origin) => origin,
            Err(error) => panic!("the origin could not listen on {listen}: {error}"),
        }
    }
}
