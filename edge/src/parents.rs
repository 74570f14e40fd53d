//! A node's parents: a pool in which each key has its own, near ones before those farther off.

use crate::metrics::WorkerMetrics;
use crate::upstream::{Address, Choosing, Lookup, Role, Settings, Upstream, tls_with};
use std::sync::Arc;
use std::time::Duration;
use weir_config::{Balance, Config, ParentScope, Retries};

/// What ejects a parent. What it passes on from an origin in trouble is not held against it.
const EJECTION: weir_config::Ejection = weir_config::Ejection {
    failures: 3,
    error_percent: 50,
    requests: 20,
    window: Duration::from_secs(10),
    eject: Duration::from_secs(1),
    eject_max: Duration::from_secs(30),
};

/// A node's parents.
pub(crate) struct Parents(Option<Arc<Upstream>>);

impl Parents {
    /// Those of `config`, with a client for each worker. What was `known` of those that stay is
    /// kept.
    pub(crate) fn new(
        config: &Config,
        metrics: &[Arc<WorkerMetrics>],
        known: Option<&Parents>,
    ) -> Result<Self, String> {
        let Config { parents, limits, node, .. } = config;
        if parents.urls.is_empty() {
            return Ok(Self(None));
        }
        let addresses = parents.urls.iter().map(|parent| {
            let near = parents.scope == ParentScope::Global || parent.region == node.region;
            let address = Address::of(&parent.url)?;
            // The parent's key is to be the edge's.
            Ok(Address {
                role: Role::Parent,
                distance: u8::from(!near),
                visitors_host: true,
                ..address
            })
        });
        let settings = Settings {
            name: Arc::from("parents"),
            named: None,
            choosing: Choosing {
                balance: Balance::ConsistentHash,
                virtual_nodes: parents.virtual_nodes,
                ejection: EJECTION,
                connections: limits.origin_connections,
            },
            timeouts: parents.timeouts,
            tls: tls_with(parents.ca.as_deref()).map_err(|error| format!("parents.ca: {error}"))?,
            server_name: None,
            proxy: None,
            lookup: Lookup::System,
            // All nodes must spread keys over the same parents, so that a name is one, whatever its addresses.
            resolve: None,
            s3: None,
            // Each is asked once; how many there are is bound enough.
            retries: Retries { most: 0, percent: 0, per_second: 0 },
            // Without the origins a parent that may be dead is better than none.
            last_resort: !parents.origin_fallback,
            judges_status: false,
            probe: parents.probe.clone(),
        };
        let addresses = addresses.collect::<Result<_, String>>()?;
        let known = known.and_then(|known| known.0.as_deref());
        Upstream::of(addresses, settings, limits, metrics, known)
            .map(|upstream| Self(Some(Arc::new(upstream))))
    }

    /// The pool; `None` without any parent.
    pub(crate) fn upstream(&self) -> Option<&Arc<Upstream>> {
        self.0.as_ref()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::forward::Outgoing;
    use crate::upstream::{Ask, For, UpstreamBody, digest};
    use http::Method;
    use http::uri::PathAndQuery;
    use std::collections::HashMap;
    use std::net::Ipv4Addr;

    const LEAST: &str = "[[site]]\norigins = [\"http://127.0.0.1:3000\"]";

    /// `eu` and `us` are the ports of the parents there.
    fn parents(scope: &str, eu: &[u16], us: &[u16]) -> Parents {
        let table = |region: &str, port: &u16| {
            format!("{{ url = \"http://127.0.0.1:{port}\", region = {region:?} }}")
        };
        let urls: Vec<String> = eu
            .iter()
            .map(|port| table("eu", port))
            .chain(us.iter().map(|port| table("us", port)))
            .collect();
        let config = format!(
            "[node]\nregion = \"eu\"\n[parents]\nscope = {scope:?}\nurls = [{}]\n{LEAST}",
            urls.join(", ")
        );
        Parents::new(&Config::from_toml(&config).unwrap(), &[Arc::default()], None).unwrap()
    }

    /// The ports of all parents in the order in which a key asks them.
    fn order(parents: &Parents, key: usize) -> Vec<u16> {
        let ask = Ask {
            method: Method::GET,
            target: PathAndQuery::from_static("/"),
            headers: Outgoing::default(),
            client_host: None,
            asker: None,
            upgrade: None,
            chosen_by: For { hash: digest(&key.to_le_bytes()), client: Ipv4Addr::LOCALHOST.into() },
            counts_for: None,
            site: crate::metrics::SiteSlot::NONE,
            trace: None,
        };
        let upstream = parents.upstream().unwrap();
        let pool = upstream.pool();
        let candidates = upstream.candidates(&pool, &ask, &UpstreamBody::Empty);
        candidates.map(|candidate| candidate.member.port().unwrap()).collect()
    }

    #[test]
    fn none_are_none() {
        let config = Config::from_toml(LEAST).unwrap();
        assert!(Parents::new(&config, &[Arc::default()], None).unwrap().upstream().is_none());
    }

    #[test]
    fn those_of_the_own_region_are_asked_before_the_others() {
        let parents = parents("region", &[1, 2], &[3, 4]);
        let mut first = [0; 5];
        for key in 0..1000 {
            let order = order(&parents, key);
            assert!(order[..2].iter().all(|port| *port <= 2), "{order:?}");
            assert!(order[2..].iter().all(|port| *port >= 3) && order.len() == 4, "{order:?}");
            first[usize::from(order[0])] += 1;
        }
        assert!(first[1] > 300 && first[2] > 300, "{first:?}");
    }

    #[test]
    fn over_all_regions_each_key_has_one_parent_wherever_it_is_asked_from() {
        let all = parents("global", &[1, 2], &[3, 4]);
        let elsewhere = parents("global", &[4, 3], &[2, 1]);
        let mut firsts: HashMap<u16, usize> = HashMap::new();
        for key in 0..1000 {
            assert_eq!(order(&all, key), order(&elsewhere, key));
            *firsts.entry(order(&all, key)[0]).or_default() += 1;
        }
        assert!(firsts.len() == 4 && firsts.values().all(|keys| *keys > 150), "{firsts:?}");
    }

    #[test]
    fn a_parent_that_goes_moves_its_own_keys_only_to_the_next_of_each() {
        let (all, fewer) =
            (parents("global", &[1, 2, 3, 4], &[]), parents("global", &[1, 2, 4], &[]));
        for key in 0..1000 {
            let mut before = order(&all, key);
            before.retain(|port| *port != 3);
            assert_eq!(order(&fewer, key), before);
        }
    }

    #[test]
    fn a_parent_that_comes_takes_its_share_and_nothing_else_moves() {
        const KEYS: usize = 4000;
        let (four, five) =
            (parents("global", &[1, 2, 3, 4], &[]), parents("global", &[1, 2, 3, 4, 5], &[]));
        let mut moved = 0;
        for key in 0..KEYS {
            let (before, after) = (order(&four, key)[0], order(&five, key)[0]);
            assert!(after == before || after == 5, "from {before} to {after}");
            moved += usize::from(after != before);
        }
        let percent = moved * 100 / KEYS;
        assert!((13..=27).contains(&percent), "{percent} % moved");
    }
}
