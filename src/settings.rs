//! Where the configuration comes from: a file, the environment over it, flags over both. Kept for
//! the life of the process, because a reload reads them again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use weir_config::Config;
use weir_config::check::check;
use weir_config::file::FileConfig;
use weir_config::mistakes::{Location, Mistake, Mistakes};

/// Longest configuration file that is read, bytes.
const LONGEST_FILE: u64 = 4 << 20;

/// What a process is in its topology.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Part {
    /// A node, with control built in or elsewhere.
    #[default]
    Node,
    /// Control alone.
    Control,
    /// Either: a file that is only checked.
    Any,
}

/// The sources of the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// What the process is.
    pub(crate) part: Part,
    /// The file, if any.
    pub(crate) file: Option<PathBuf>,
    /// The program's own words in place of a file; neither they nor what they leave out is for the
    /// environment to say.
    pub(crate) text: Option<String>,
    /// `--origin`.
    pub(crate) origin: Option<String>,
    /// `--listen`: of the node's clients, or of control where it is alone.
    pub(crate) listen: Option<String>,
    /// `--admin`.
    pub(crate) admin: Option<String>,
    /// `--domain`: what is served by https.
    pub(crate) domains: Vec<String>,
    /// `--email`: where the CA may write to.
    pub(crate) email: Option<String>,
}

impl Settings {
    /// Reads and checks.
    ///
    /// # Errors
    /// All mistakes at once.
    pub(crate) fn load(&self) -> Result<Config, Mistakes> {
        self.load_with_part().map(|(config, _)| config)
    }

    /// The same, with the part that the configuration is for.
    ///
    /// # Errors
    /// All mistakes at once.
    pub(crate) fn load_with_part(&self) -> Result<(Config, Part), Mistakes> {
        let file = self.written()?;
        let config = check(&file)?;
        let part = match self.part {
            Part::Any => Part::of(&file, &config),
            part => part,
        };
        let missing = self.part.misses(&config);
        if missing.0.is_empty() { Ok((config, part)) } else { Err(missing) }
    }

    /// The file, with the environment and the flags over it.
    fn written(&self) -> Result<FileConfig, Mistakes> {
        if let Some(text) = &self.text {
            return FileConfig::parse(text);
        }
        let mut file = match &self.file {
            Some(path) => FileConfig::parse(&read(path)?)?,
            None => FileConfig::default(),
        };
        let unicode = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        file.override_with(std::env::vars_os().filter_map(unicode));
        if let Some(listen) = &self.listen {
            let table = if self.part == Part::Control { "control" } else { "node" };
            file.set("--listen", table, "listen", listen);
        }
        if let Some(admin) = &self.admin {
            file.set("--admin", "node", "admin", admin);
        }
        if let Some(origin) = &self.origin {
            file.front("--origin", origin)?;
        }
        if !self.domains.is_empty() {
            secure(&mut file, &self.domains)?;
        }
        if let Some(email) = &self.email {
            file.set_acme("--email", "email", email);
        }
        Ok(file)
    }
}

/// Whether certificates are to be ordered, but for no edge.
fn orders_alone(config: &Config) -> bool {
    let acme = config.tls.as_ref().and_then(|tls| tls.acme.as_ref());
    acme.is_some_and(|acme| acme.secret.is_none())
}

impl Part {
    /// The part that a configuration is for. Without a site it can only be that of control alone,
    /// and with `control.url` only that of a node. Any other suits both; only control alone listens
    /// at `control.listen`.
    fn of(file: &FileConfig, config: &Config) -> Self {
        let control = &config.control;
        let alone =
            config.sites.is_empty() || (control.data.is_some() && file.sets("control", "listen"));
        let alone = alone || control.etcd.is_some();
        if control.url.is_empty() && alone { Self::Control } else { Self::Node }
    }

    /// What this part needs beyond what every configuration must have, and what it cannot have.
    fn misses(self, config: &Config) -> Mistakes {
        let mistake = |path: &str, message: &str| Mistake {
            path: path.to_owned(),
            place: Location::Nowhere,
            value: None,
            message: message.to_owned(),
        };
        let mut mistakes = Mistakes::default();
        match self {
            Self::Node if config.sites.is_empty() => {
                let accepted = "at least one [[site]] with its origins, or --origin URL";
                mistakes.0.push(mistake("site", &format!("missing; accepted: {accepted}")));
            }
            Self::Node if config.control.etcd.is_some() => {
                let why =
                    "only weir control keeps its log there; accepted: control.url, where that runs";
                mistakes.0.push(mistake("control.log", why));
            }
            Self::Control if !config.control.url.is_empty() => {
                let why = "weir control is control itself; accepted: a configuration without it";
                mistakes.0.push(mistake("control.url", why));
            }
            Self::Control if config.control.etcd.is_some() && config.tokens.is_empty() => {
                let why = "missing; without a token control answers programs of its machine only, and \
                           other processes of control pass calls on; accepted: at least one";
                mistakes.0.push(mistake("token", why));
            }
            Self::Control if orders_alone(config) => {
                let why = "missing; control orders for edges, which have the same secret; accepted: a file with 32 \
                           characters or more, as of \"openssl rand -hex 32\"";
                mistakes.0.push(mistake("tls.acme.secret_file", why));
            }
            Self::Control if config.control.data.is_none() && config.control.etcd.is_none() => {
                let accepted = "a directory for the invalidation log of weir control";
                mistakes.0.push(mistake("control.data", &format!("missing; accepted: {accepted}")));
            }
            _ => {}
        }
        mistakes
    }
}

/// What `--domain` asks for: https for these names at the ports that browsers use. What is written elsewhere
/// stays.
fn secure(file: &mut FileConfig, domains: &[String]) -> Result<(), Mistakes> {
    const FLAG: &str = "--domain";
    file.secure(FLAG, domains)?;
    let listeners = [("node", 80), ("tls", 443)];
    for (table, port) in listeners {
        if !file.sets(table, "listen") {
            let listen = SocketAddr::new(every_address(), port);
            file.set(FLAG, table, "listen", listen.to_string());
        }
    }
    if !file.sets("node", "state") {
        file.set(FLAG, "node", "state", state_directory().to_string_lossy());
    }
    Ok(())
}

/// All addresses of the machine. A CA that finds an IPv6 address of a name connects there.
fn every_address() -> IpAddr {
    match std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => Ipv6Addr::UNSPECIFIED.into(),
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
}

/// Where a node keeps what it must not lose if no configuration says: the directory of its systemd unit,
/// `/var/lib/weir` for root, else `weir` in the user's directory of such files (XDG Base Directory Specification).
fn state_directory() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(of_unit) =
        variable("STATE_DIRECTORY").and_then(|of_unit| of_unit.into_string().ok())
    {
        return of_unit.split(':').next().unwrap_or_default().into();
    }
    let home = || Some(PathBuf::from(variable("HOME")?).join(".local/state"));
    let of_user = variable("XDG_STATE_HOME").map(PathBuf::from).or_else(home);
    match of_user {
        Some(of_user) if !rustix::process::geteuid().is_root() => of_user.join("weir"),
        _ => PathBuf::from("/var/lib/weir"),
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_part_says_what_it_misses() {
        let site = "[[site]]\norigins = [\"http://a\"]\n";
        let data = "[control]\ndata = \"/var/lib/weir\"\n";
        let url = "[control]\nurl = \"http://control:9090\"\n";
        for (part, text, missing) in [
            (Part::Node, site.to_owned(), None),
            (Part::Node, format!("{site}{data}"), None),
            (Part::Node, format!("{site}{url}"), None),
            (Part::Node, data.to_owned(), Some("site: missing")),
            (Part::Control, data.to_owned(), None),
            (Part::Control, format!("{site}{data}"), None),
            (Part::Control, site.to_owned(), Some("control.data: missing")),
            (Part::Control, format!("{site}{url}"), Some("control.url: weir control is")),
            (Part::Any, data.to_owned(), None),
        ] {
            let config = Config::from_toml(&text).unwrap();
            let told = part.misses(&config).to_string();
            match missing {
                None => assert_eq!(told, "", "{part:?}: {text}"),
                Some(words) => assert!(told.starts_with(words), "{part:?}: {text}: {told}"),
            }
        }
    }
}
