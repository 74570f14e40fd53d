//! `weir-origin-sim` as a process: started with a script or a folder, asked for its counts,
//! released, killed.

use crate::Error;
use crate::client::{self, Answer};
use crate::program::{Programs, Running, free_address};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a state of the origin is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running origin.
pub(crate) struct OriginSim {
    process: Option<Running>,
    /// Where it listens, also after it was killed and started again.
    pub(crate) at: SocketAddr,
    source: Source,
    program: PathBuf,
}

enum Source {
    Script(PathBuf),
    Folder(PathBuf),
}

impl OriginSim {
    /// Starts it with these routes.
    pub(crate) async fn scripted(programs: &Programs, script: &Value) -> Result<Self, Error> {
        let at = free_address()?;
        let file = std::env::temp_dir().join(format!(
            "weir-bars-{}-{}.json",
            std::process::id(),
            at.port()
        ));
        fs::write(&file, script.to_string())?;
        Self::launch(programs, at, Source::Script(file)).await
    }

    /// Starts it over a folder.
    pub(crate) async fn over(programs: &Programs, folder: &Path) -> Result<Self, Error> {
        Self::launch(programs, free_address()?, Source::Folder(folder.to_owned())).await
    }

    async fn launch(programs: &Programs, at: SocketAddr, source: Source) -> Result<Self, Error> {
        let mut origin = Self { process: None, at, source, program: programs.origin_sim.clone() };
        origin.start().await?;
        Ok(origin)
    }

    /// Starts it again where it was, with nothing counted.
    pub(crate) async fn start(&mut self) -> Result<(), Error> {
        let listen = self.at.to_string();
        let (option, path) = match &self.source {
            Source::Script(file) => ("--script", file),
            Source::Folder(folder) => ("--root", folder),
        };
        let path = path.to_str().ok_or("the path is not UTF-8")?;
        let arguments = ["--listen", &listen, "--quiet", "--keep-requests", "0", option, path];
        self.process = Some(Running::start(&self.program, &arguments)?);
        self.until("it answers", |_| true).await
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// How many requests for `path` arrived.
    pub(crate) async fn requests(&self, path: &str) -> Result<u64, Error> {
        let counts = self.call("GET", &format!("/__sim/counters?path={path}")).await?;
        let counts: Value = serde_json::from_slice(&counts.body)?;
        Ok(counts["total"]["requests"].as_u64().ok_or("no count in the counters")?)
    }

    /// Waits until a request for `path` has arrived.
    pub(crate) async fn until_asked(&self, path: &str) -> Result<(), Error> {
        let end = Instant::now() + PATIENCE;
        while self.requests(path).await? == 0 {
            if Instant::now() > end {
                return Err(format!("the origin was not asked for {path}").into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Lets go what is held at `path`.
    pub(crate) async fn release(&self, path: &str) -> Result<(), Error> {
        let answer = self.call("POST", &format!("/__sim/release?path={path}")).await?;
        if answer.status == 200 { Ok(()) } else { Err("nothing to release".into()) }
    }

    async fn call(&self, method: &str, target: &str) -> Result<Answer, Error> {
        client::once(self.at, method, target).await
    }

    async fn until(&self, what: &str, reached: impl Fn(&Answer) -> bool) -> Result<(), Error> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.call("GET", "/__sim/counters?path=/").await {
                Ok(answer) if reached(&answer) => return Ok(()),
                Ok(_) | Err(_) if Instant::now() < end => {}
                Ok(_) | Err(_) => return Err(format!("the origin: waited for: {what}").into()),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for OriginSim {
    fn drop(&mut self) {
        if let Source::Script(file) = &self.source {
            // It may be gone with the folder of temporary files.
            let _ = fs::remove_file(file);
        }
    }
}
