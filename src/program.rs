//! The program as control's calls see it: its node, if it has one, and its configuration.

use crate::commands::to_etcd;
use crate::settings::Settings;
use crate::{logging, tokens};
use http::HeaderMap;
use serde_json::Value;
use std::sync::Arc;
use tokio::runtime::Handle;
use weir_config::Config;
use weir_config::reload::Effect;
use weir_control::{Control, Reloaded};
use weir_edge::follow::{Dial, InProcess};
use weir_edge::node::Node;

/// A process with a node, or without: control alone.
pub(crate) struct Program {
    /// The node that runs in it.
    pub(crate) node: Option<Arc<Node>>,
    /// Where its configuration comes from.
    pub(crate) settings: Settings,
}

impl weir_control::Program for Program {
    fn not_ready(&self) -> Option<String> {
        self.node.as_ref()?.not_ready()
    }

    fn metrics(&self) -> String {
        self.node.as_ref().map(|node| node.metrics()).unwrap_or_default()
    }

    fn explain(&self, url: &str, headers: &HeaderMap) -> Option<Result<Value, String>> {
        let explanation = self.node.as_ref()?.explain(url, headers);
        let written =
            |explanation| serde_json::to_value(explanation).map_err(|error| error.to_string());
        Some(explanation.and_then(written))
    }

    fn certificates(&self) -> Vec<Value> {
        let certificates = self.node.as_ref().map(|node| node.certificates());
        let certificates = certificates.unwrap_or_default().into_iter();
        certificates.filter_map(|certificate| serde_json::to_value(certificate).ok()).collect()
    }

    fn renew_certificate(&self, host: &str) -> bool {
        self.node.as_ref().is_some_and(|node| node.renew_certificate(host))
    }

    fn rotate_certificates(&self, hosts: &[&str]) -> bool {
        self.node.as_ref().is_some_and(|node| node.rotate_certificates(hosts))
    }

    fn trust(&self) -> weir_acme::Trust {
        weir_edge::trust
    }

    fn reload(&self, old: &Config) -> Result<Reloaded, String> {
        // Whoever moved the access log's file away tells by a reload, too.
        if let Some(node) = &self.node {
            node.reopen_log();
        }
        let new = self.settings.load();
        let new = new.and_then(|new| tokens::complete_at_once(new, &self.settings));
        let new = new.map_err(|mistakes| mistakes.to_string())?;
        let (new, needs_restart) = old.reloaded(new, |effect| self.needs_restart(effect));
        if let Some(etcd) = &new.control.etcd {
            to_etcd(etcd)?;
        }
        if let Some(node) = &self.node {
            node.reload(new.clone()).map_err(|error| error.0)?;
        }
        logging::set_level(new.log.level);
        Ok(Reloaded { config: new, needs_restart })
    }
}

impl Program {
    /// Whether this process reads keys of this effect at its start only.
    fn needs_restart(&self, effect: Effect) -> bool {
        match effect {
            Effect::Reload => false,
            Effect::NodeRestart => self.node.is_some(),
            Effect::ControlRestart => true,
            // With a node, control listens at its admin address.
            Effect::LoneControlRestart => self.node.is_none(),
        }
    }
}

/// The way to control for a node in the same process, whose connections are attended on `here`.
pub(crate) fn in_process(control: &Arc<Control>, here: &Handle) -> impl Dial + use<> {
    let (control, here) = (control.clone(), here.clone());
    InProcess::new(move |end| drop(here.spawn(control.clone().attend(end))))
}
