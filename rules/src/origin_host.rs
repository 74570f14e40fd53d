//! Which origins are asked with the visitor's Host if the site does not say (`host_header = "auto"`).

use std::net::IpAddr;

/// Domains for private use. No public server can be reached under them (RFC 6761, RFC 6762,
/// RFC 8375), or a cluster's DNS answers for them.
const PRIVATE: [&str; 8] =
    ["localhost", "local", "internal", "lan", "home.arpa", "test", "svc", "cluster.local"];

/// Whether an origin is asked with the visitor's Host: its URL names a machine or a service, not a
/// website. `host` is in lower case and without brackets. In Kubernetes (`kubernetes`) two labels
/// without TLS are `service.namespace`; with TLS they are a public name, which a certificate has.
pub fn takes_visitors_host(https: bool, host: &str, kubernetes: bool) -> bool {
    let private = |domain: &&str| {
        host.strip_suffix(*domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let labels = host.split('.').count();
    host.parse::<IpAddr>().is_ok()
        || labels == 1
        || PRIVATE.iter().any(private)
        || (kubernetes && !https && labels == 2)
}

#[cfg(test)]
mod tests {
    use super::takes_visitors_host;
    use proptest::prelude::*;

    #[test]
    fn addresses_and_private_names_take_the_visitors_host() {
        for host in [
            "127.0.0.1",
            "10.0.0.5",
            "203.0.113.9",
            "::1",
            "2001:db8::1",
            "localhost",
            "web",
            "app.localhost",
            "nas.local",
            "host.docker.internal",
            "router.lan",
            "pi.home.arpa",
            "shop.test",
            "web.shop.svc",
            "web.shop.svc.cluster.local",
        ] {
            for https in [false, true] {
                assert!(takes_visitors_host(https, host, false), "{host}");
                assert!(takes_visitors_host(https, host, true), "{host}");
            }
        }
    }

    #[test]
    fn public_names_take_their_own() {
        for host in ["bucket.example", "www.example.com", "notlocal.example", "a.mylocal"] {
            assert!(!takes_visitors_host(true, host, false), "{host}");
            assert!(!takes_visitors_host(false, host, false), "{host}");
            assert!(!takes_visitors_host(true, host, true), "{host}");
        }
        assert!(takes_visitors_host(false, "web.shop", true));
        assert!(!takes_visitors_host(false, "www.example.com", true));
    }

    proptest! {
        #[test]
        fn a_public_name_of_three_labels_is_never_private(name in "[a-z]{1,9}\\.[a-z]{1,9}\\.(com|org|example)") {
            prop_assert!(!takes_visitors_host(false, &name, true));
            prop_assert!(!takes_visitors_host(true, &name, false));
        }
    }
}
