//! What the expected nodes reported of their sites.

use super::published::PublishedLog;
use crate::journal::SitesRecord;
use crate::sites::ReportedSites;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_protocol::frame::SiteHosts;

/// What a node reports.
pub(super) type SiteList = Arc<[SiteHosts]>;

impl PublishedLog {
    /// What each node that reports its sites reported.
    pub(super) fn sites_by_node(&self) -> BTreeMap<String, SiteList> {
        let named = self.nodes.iter().filter_map(|(name, node)| Some((name, node.sites.clone()?)));
        named.map(|(name, sites)| (name.to_string(), sites)).collect()
    }

    /// Whether a node is expected that reports its sites.
    pub(super) fn reports_sites(&self, name: &str) -> bool {
        self.nodes.get(name).is_some_and(|node| node.sites.is_some())
    }

    /// Takes what a node reported; `None` where it does not. A list that another node reported is
    /// held once.
    pub(super) fn report_sites(&mut self, name: &str, sites: Option<SiteList>) {
        let known = sites.map(|sites| {
            let mut lists = self.reported.lists.iter();
            lists.find(|list| **list == sites).cloned().unwrap_or(sites)
        });
        if let Some(node) = self.nodes.get_mut(name) {
            node.sites = known;
        }
        self.gather_sites();
    }

    /// Puts together what the nodes reported, once any of it changed.
    pub(super) fn gather_sites(&mut self) {
        let mut reported = ReportedSites::default();
        for node in self.nodes.values() {
            match &node.sites {
                None => reported.silent = true,
                Some(sites) if !reported.lists.contains(sites) => {
                    reported.lists.push(sites.clone());
                }
                Some(_) => {}
            }
        }
        if *self.reported != reported {
            self.reported = Arc::new(reported);
        }
    }
}

/// What a journal is to hold.
pub(super) fn records(by_node: &BTreeMap<String, SiteList>) -> Vec<SitesRecord> {
    let mut records: Vec<SitesRecord> = Vec::new();
    for (name, sites) in by_node {
        match records.iter_mut().find(|record| record.sites[..] == sites[..]) {
            Some(record) => record.nodes.push(name.clone()),
            None => records.push(SitesRecord { nodes: vec![name.clone()], sites: sites.to_vec() }),
        }
    }
    records
}
