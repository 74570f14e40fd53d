//! nginx with a cache, in front of the same origin.

use crate::Error;
use crate::client;
use crate::program::{Folder, free_address, started_in};
use rustix::process::{Pid, Signal, getuid, kill_process};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to start and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// The nginx program: the one that was named, or the first of the usual places.
///
/// # Errors
/// Where there is none: nothing is measured without it.
pub(crate) fn find(named: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<_> = std::env::split_paths(&path).collect();
    places.push(PathBuf::from("/usr/sbin"));
    let found = places.into_iter().map(|folder| folder.join("nginx")).find(|file| file.is_file());
    found.ok_or_else(|| "nginx is not installed; install it, or give --nginx".into())
}

/// In what an nginx differs from another one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape<'a> {
    /// A number, or `auto`: one for each processor.
    pub(crate) workers: &'a str,
    /// Open files, and connections, of each worker.
    pub(crate) files: u64,
    /// The most that the files of its cache may take, as nginx writes sizes.
    pub(crate) cache: &'a str,
    /// The memory for the keys of the cache.
    pub(crate) keys: &'a str,
    /// Further directives of all its servers.
    pub(crate) directives: &'a str,
}

/// A running nginx; it is ended when this is dropped.
pub(crate) struct Nginx {
    child: Child,
    /// Where HTTP/1.1 is spoken, where HTTP/2, and where it tells of itself.
    pub(crate) listen: SocketAddr,
    pub(crate) http2: SocketAddr,
    pub(crate) admin: SocketAddr,
    _folder: Folder,
}

impl Nginx {
    /// In front of `origin`, in a cgroup if one is given.
    pub(crate) async fn start(
        program: &Path,
        origin: SocketAddr,
        shape: Shape<'_>,
        cgroup: Option<&Path>,
    ) -> Result<Self, Error> {
        let folder = Folder::new("nginx")?;
        let (listen, http2, admin) = (free_address()?, free_address()?, free_address()?);
        let config = config(folder.path(), [listen, http2, admin, origin], shape);
        let config = folder.file("nginx.conf", &config)?;
        let mut command = started_in(cgroup, program);
        command.arg("-p").arg(folder.path()).arg("-c").arg(config);
        command.arg("-e").arg(folder.path().join("error.log")).stdin(Stdio::null());
        let child = command.spawn()?;
        let nginx = Self { child, listen, http2, admin, _folder: folder };
        let end = Instant::now() + PATIENCE;
        while let Err(error) = client::once(admin, "GET", "/healthz").await {
            if Instant::now() > end {
                return Err(format!("nginx does not start: {error}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(nginx)
    }

    /// Its processes, but the one that reads what was cached before: that one ends after a minute.
    pub(crate) fn ids(&self) -> Result<Vec<u32>, Error> {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let children =
            children.split_whitespace().map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        let stays = |id: &u32| {
            let title = fs::read_to_string(format!("/proc/{id}/cmdline"));
            title.is_ok_and(|title| !title.contains("cache loader"))
        };
        Ok(std::iter::once(id).chain(children.into_iter().filter(stays)).collect())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Workers outlive a master that is killed.
        if let Some(id) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // Fails only when it has ended already.
            let _ = kill_process(id, Signal::TERM);
        }
        let end = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Collapsed requests and kept connections to the origin, as weir has by default. All that `shape` does not
/// say is nginx's default.
fn config(
    folder: &Path,
    [listen, http2, admin, origin]: [SocketAddr; 4],
    shape: Shape<'_>,
) -> String {
    let folder = folder.display();
    let Shape { workers, files, cache, keys, directives } = shape;
    // Otherwise workers may not write to the folder.
    let user = if getuid().is_root() { "user root;" } else { "" };
    format!(
        "daemon off;
{user}
worker_processes {workers};
worker_rlimit_nofile {files};
pid {folder}/pid;
error_log {folder}/error.log crit;
events {{ worker_connections {files}; }}
http {{
  access_log off;
  {directives}
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  proxy_cache_path {folder}/cache levels=1:2 keys_zone=all:{keys} max_size={cache};
  http2_max_concurrent_streams 200;
  map $upstream_cache_status $handled {{ default fwd=miss; HIT hit; }}
  upstream origin {{ server {origin}; keepalive 32; }}
  server {{
    listen {listen} backlog=4096;
    listen {http2} http2 backlog=4096;
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_cache all;
      proxy_cache_lock on;
      add_header Cache-Status \"nginx; $handled\";
    }}
  }}
  server {{
    listen {admin};
    location = /healthz {{ return 200; }}
    location = /readyz {{ return 200; }}
    location = /metrics {{ stub_status; }}
  }}
}}
"
    )
}
