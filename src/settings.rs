//! Where the configuration comes from: a file, the environment over it, flags over both. Kept for
//! the life of the process, because a reload reads them again.

use std::path::{Path, PathBuf};
use weir_edge::config::Config;
use weir_edge::config::check::check;
use weir_edge::config::file::FileConfig;
use weir_edge::config::mistakes::Mistakes;

/// Longest configuration file that is read, bytes.
const LONGEST_FILE: u64 = 4 << 20;

/// The sources of the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// The file, if any.
    pub(crate) file: Option<PathBuf>,
    /// `--origin`.
    pub(crate) origin: Option<String>,
    /// `--listen`.
    pub(crate) listen: Option<String>,
    /// `--admin`.
    pub(crate) admin: Option<String>,
}

impl Settings {
    /// Reads and checks.
    ///
    /// # Errors
    /// All mistakes at once.
    pub(crate) fn load(&self) -> Result<Config, Mistakes> {
        let mut file = match &self.file {
            Some(path) => FileConfig::parse(&read(path)?)?,
            None => FileConfig::default(),
        };
        let unicode = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        file.override_with(std::env::vars_os().filter_map(unicode));
        if let Some(listen) = &self.listen {
            file.set("--listen", "node", "listen", listen);
        }
        if let Some(admin) = &self.admin {
            file.set("--admin", "node", "admin", admin);
        }
        if let Some(origin) = &self.origin {
            file.front("--origin", origin)?;
        }
        check(&file)
    }
}

fn read(path: &Path) -> Result<String, Mistakes> {
    use std::io::Read;
    let unreadable = |error: std::io::Error| Mistakes::of(format!("{}: {error}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(LONGEST_FILE + 1).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}
