//! A `weir serve` with control built in, which another process can take over from.

use super::{ADMIN_TOKEN, Folder, TextFile, Weir};

/// The process, its state directory and its configuration.
pub(crate) struct Lone {
    pub(crate) weir: Weir,
    pub(crate) config: TextFile,
    pub(crate) state: Folder,
}

impl Lone {
    /// With these keys of `[control]`.
    pub(crate) fn start(name: &str, origin: &str, control: &str) -> Self {
        Self::start_with(name, origin, control, "")
    }

    /// And with these tables.
    pub(crate) fn start_with(name: &str, origin: &str, control: &str, tables: &str) -> Self {
        let state = Folder::new(&format!("{name}-state"));
        let config = Self::config(origin, control, &state) + tables;
        Self::run(name, state, &config)
    }

    /// With one worker: when it has told one client to go, it has told all.
    pub(crate) fn start_with_one_worker(name: &str, origin: &str, tables: &str) -> Self {
        let state = Folder::new(&format!("{name}-state"));
        let config =
            Self::config(origin, "", &state).replace("workers = 2", "workers = 1") + tables;
        Self::run(name, state, &config)
    }

    fn run(name: &str, state: Folder, config: &str) -> Self {
        let config = TextFile::new(&format!("{name}.toml"), config);
        let weir = Weir::serve(&["--config", config.path()]);
        Self { weir, config, state }
    }

    pub(crate) fn config(origin: &str, control: &str, state: &Folder) -> String {
        format!(
            "[node]\nname = \"lone\"\nworkers = 2\nstate = {:?}\n\
             [control]\nrate = 1000000\n{control}\n\
             [[token]]\nname = \"me\"\nsecret = \"{ADMIN_TOKEN}\"\n\
             scopes = [\"purge\", \"read\", \"admin\"]\n\
             [[site]]\nid = \"site\"\norigins = [{origin:?}]\n",
            state.path()
        )
    }

    pub(crate) fn begin_to_take_over(&self) -> Weir {
        Weir::begin_to_serve(&["--config", self.config.path(), "--takeover"])
    }

    /// Has a new process take over; returns the old one, which ends by itself.
    pub(crate) fn take_over(&mut self) -> Weir {
        let new = self.begin_to_take_over().serving();
        assert_eq!((new.listen, new.admin), (self.weir.listen, self.weir.admin));
        std::mem::replace(&mut self.weir, new)
    }
}
