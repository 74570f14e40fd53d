//! What a reload changes. Each key of [`Config`] says, where it is defined, when a change of it takes
//! effect; what needs a restart follows from that.

use crate::Config;

/// When a changed key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// At the reload.
    Reload,
    /// When the node starts again.
    NodeRestart,
    /// When control starts again.
    ControlRestart,
    /// When control starts again, if it runs alone: beside a node it does not use the key.
    LoneControlRestart,
}

/// A key by its path, such as `node.listen`, and when a change of it takes effect.
pub type Key = (&'static str, Effect);

/// A table whose keys say each for itself when they take effect.
pub(super) trait Keys: Sized {
    /// All its keys, in order.
    const KEYS: &'static [Key];

    /// The keys that differ between two versions of it; `None` is a table that is not written.
    fn differing(old: Option<&Self>, new: Option<&Self>) -> Vec<Key>;

    /// Gives each key that needs a restart, as `needs_restart` says, the value that it has in `old`.
    fn keep(&mut self, old: &Self, needs_restart: &impl Fn(Effect) -> bool);
}

/// Defines a table of the configuration, `table! { "node": pub struct Node { … } }`: after the type of
/// each key, which has the name of its field, stands its [`Effect`]. Who uses it imports [`Effect`],
/// [`Key`] and [`Keys`].
macro_rules! table {
    (
        $table:literal:
        $(#[$attribute:meta])*
        pub struct $name:ident {
            $($(#[$key_attribute:meta])* pub $key:ident: $value:ty => $effect:ident,)*
        }
    ) => {
        $(#[$attribute])*
        pub struct $name {
            $($(#[$key_attribute])* pub $key: $value,)*
        }

        impl Keys for $name {
            const KEYS: &'static [Key] =
                &[$((concat!($table, ".", stringify!($key)), Effect::$effect),)*];

            fn differing(old: Option<&Self>, new: Option<&Self>) -> Vec<Key> {
                let differs =
                    [$(old.map(|table| &table.$key) != new.map(|table| &table.$key),)*];
                let keys = Self::KEYS.iter().zip(differs);
                keys.filter_map(|(key, differs)| differs.then_some(*key)).collect()
            }

            fn keep(&mut self, old: &Self, needs_restart: &impl Fn(Effect) -> bool) {
                $(if needs_restart(Effect::$effect) {
                    self.$key.clone_from(&old.$key);
                })*
            }
        }
    };
}
pub(super) use table;

impl Config {
    /// What a running process takes of `new`, and the keys that it does not take: those that differ
    /// and need a restart, as `needs_restart` says. They keep the value that they have here.
    pub fn reloaded(
        &self,
        mut new: Config,
        needs_restart: impl Fn(Effect) -> bool,
    ) -> (Config, Vec<&'static str>) {
        let differing = self.differing(&new).into_iter();
        let kept = differing.filter(|(_, effect)| needs_restart(*effect)).map(|(key, _)| key);
        let kept = kept.collect();
        new.node.keep(&self.node, &needs_restart);
        new.control.keep(&self.control, &needs_restart);
        match (&mut new.control.etcd, &self.control.etcd) {
            (Some(new), Some(old)) => new.keep(old, &needs_restart),
            // Which of the two it is depends on control.log, which is kept or not.
            (new, old) if needs_restart(Effect::ControlRestart) => new.clone_from(old),
            _ => {}
        }
        new.limits.keep(&self.limits, &needs_restart);
        new.spool.keep(&self.spool, &needs_restart);
        new.log.keep(&self.log, &needs_restart);
        if let (Some(new), Some(old)) = (&mut new.tls, &self.tls) {
            new.keep(old, &needs_restart);
        }
        if needs_restart(MEMORY.1) {
            new.memory = self.memory;
        }
        if needs_restart(DISK.1) {
            new.disk.clone_from(&self.disk);
        }
        (new, kept)
    }

    /// The keys that differ between two configurations.
    fn differing(&self, new: &Config) -> Vec<Key> {
        // Named one by one, so that no table is left out.
        let Config {
            node,
            control,
            tokens,
            memory,
            disk,
            parents,
            sites,
            limits,
            geo,
            spool,
            log,
            tls,
            absent: _,
        } = new;
        let whole = [
            (TOKENS, self.tokens != *tokens),
            (MEMORY, self.memory != *memory),
            (DISK, self.disk != *disk),
            (PARENTS, self.parents != *parents),
            (SITES, self.sites != *sites),
            (GEO, self.geo != *geo),
        ];
        let mut differing = Keys::differing(Some(&self.node), Some(node));
        differing.extend(Keys::differing(Some(&self.control), Some(control)));
        if let (Some(old), Some(new)) = (&self.control.etcd, &control.etcd) {
            differing.extend(Keys::differing(Some(old), Some(new)));
        }
        differing.extend(whole.into_iter().filter_map(|(key, differs)| differs.then_some(key)));
        differing.extend(Keys::differing(Some(&self.limits), Some(limits)));
        differing.extend(Keys::differing(Some(&self.spool), Some(spool)));
        differing.extend(Keys::differing(Some(&self.log), Some(log)));
        differing.extend(Keys::differing(self.tls.as_ref(), tls.as_ref()));
        differing
    }
}

// Tables that take effect as a whole.
const TOKENS: Key = ("token", Effect::Reload);
const MEMORY: Key = ("memory", Effect::NodeRestart);
const DISK: Key = ("disk", Effect::NodeRestart);
const PARENTS: Key = ("parents", Effect::Reload);
const SITES: Key = ("site", Effect::Reload);
const GEO: Key = ("geo", Effect::Reload);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::check::keys;
    use crate::{Control, Limits, Log, Node, Spool, Tls};

    /// Keys that have no field of their own, and the key whose field they are part of.
    const PARTS: [(&str, &str); 5] = [
        ("control.token_file", "control.token"),
        ("log.otlp_interval", "log.otlp"),
        ("log.otlp_queue", "log.otlp"),
        ("log.otlp_sample", "log.otlp"),
        ("log.otlp_timeout", "log.otlp"),
    ];

    fn marked() -> impl Iterator<Item = &'static str> {
        let tables = [Node::KEYS, Control::KEYS, Limits::KEYS, Spool::KEYS, Log::KEYS, Tls::KEYS];
        let whole = [TOKENS, MEMORY, DISK, PARENTS, SITES, GEO];
        tables.into_iter().flatten().copied().chain(whole).map(|(key, _)| key)
    }

    /// Whether `key` is `of` or lies below it.
    fn is_within(key: &str, of: &str) -> bool {
        key.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    #[test]
    fn every_key_says_when_a_change_takes_effect() {
        let known = keys();
        for key in &known {
            let whole =
                PARTS.iter().find(|(part, _)| part == key).map_or(&**key, |(_, whole)| whole);
            let says = marked().any(|marked| is_within(whole, marked) || is_within(marked, whole));
            assert!(says, "{key} does not say when a change of it takes effect");
        }
        for marked in marked() {
            assert!(known.iter().any(|key| key == marked), "{marked} is no key");
        }
    }

    fn config(text: &str) -> Config {
        Config::from_toml(&format!("{text}\n[[site]]\norigins = [\"http://a\"]\n")).unwrap()
    }

    #[test]
    fn what_needs_a_restart_is_named_and_keeps_its_value() {
        let old = config("[node]\nregion = \"eu\"\n[control]\nlease = \"5s\"");
        let text = "[node]\nregion = \"us\"\nworkers = 77\n[control]\ndata = \"/d\"\n\
                    [memory]\nsize = \"1GiB\"\n[disk]\npath = \"/c\"\nsize = \"1GiB\"\n[limits]\ntags = 7\npatterns = 7\n\
                    [log]\nlevel = \"debug\"\naccess = \"json\"\n";
        let needs_restart = |effect| effect == Effect::NodeRestart;
        let (taken, kept) = old.reloaded(config(text), needs_restart);
        let expected =
            ["node.workers", "control.lease", "memory", "disk", "limits.patterns", "log.access"];
        assert_eq!(kept, expected);
        assert_eq!((&*taken.node.region, taken.limits.tags), ("us", 7));
        assert_eq!(taken.node.workers, old.node.workers);
        assert_eq!((taken.memory, taken.control.lease), (old.memory, old.control.lease));
        assert_eq!(taken.disk, None);
        assert!(taken.control.data.is_some());
        let (_, kept) = taken.reloaded(config(text), needs_restart);
        assert_eq!(kept, expected, "they are named again until the restart");
        let (_, kept) = old.reloaded(config(text), |effect| effect == Effect::ControlRestart);
        assert_eq!(kept, ["control.data"]);
        let (taken, kept) = old.reloaded(config(text), |_| false);
        assert_eq!((taken, kept.len()), (config(text), 0));
    }

    #[test]
    fn who_control_is_to_etcd_changes_at_a_reload_and_which_log_it_has_does_not() {
        let etcd = |keys: &str| {
            let log = "[control]\nlog = \"etcd\"\n[control.etcd]\n";
            config(&format!("{log}{keys}"))
        };
        let old = etcd("endpoints = [\"http://a\"]");
        let keys = "endpoints = [\"http://b\"]\nprefix = \"/b/\"\nadvertise = \"http://c\"\n\
                    user = \"weir\"\npassword_file = \"/etc/hostname\"";
        let needs_restart = |effect| effect == Effect::ControlRestart;
        let (taken, kept) = old.reloaded(etcd(keys), needs_restart);
        let expected = ["control.etcd.endpoints", "control.etcd.prefix", "control.etcd.advertise"];
        assert_eq!(kept, expected);
        let (old_etcd, taken) = (old.control.etcd.as_ref().unwrap(), taken.control.etcd.unwrap());
        assert_eq!((&taken.endpoints, &taken.prefix), (&old_etcd.endpoints, &old_etcd.prefix));
        assert_eq!(taken.user.unwrap().0, "weir");
        let (taken, kept) = old.reloaded(config("[control]\ndata = \"/d\""), needs_restart);
        assert_eq!(kept, ["control.log", "control.data"]);
        assert_eq!(taken.control.etcd, old.control.etcd);
    }
}
