//! Certificates, as metrics.

use super::Text;
use crate::certificate::Certificate;
use std::collections::BTreeMap;

pub(super) fn certificates(text: &mut Text, certificates: &[Certificate]) {
    let name = "weir_certificate_expires_seconds";
    let help = "When the certificate for a name expires, in seconds since the Unix epoch; 0 while an ordered \
                one has not arrived.";
    text.metric(name, "gauge", help);
    // Several may be for one name; the first that ends is told.
    let mut ends: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for certificate in certificates {
        let (name, source, expires) = match certificate {
            Certificate::Ordered(listed) => (listed.name.as_str(), "acme", listed.expires),
            Certificate::File { names, expires } => {
                (names.first().map_or("", String::as_str), "file", *expires)
            }
        };
        let expires = expires.unwrap_or(0);
        ends.entry((name, source)).and_modify(|end| *end = expires.min(*end)).or_insert(expires);
    }
    for ((host, source), expires) in ends {
        text.sample(name, &[("name", host), ("source", source)], expires);
    }
    let name = "weir_certificate_order_failures";
    let help = "Failed orders for the certificate of a name since the last one was issued.";
    text.metric(name, "gauge", help);
    for certificate in certificates {
        if let Certificate::Ordered(listed) = certificate {
            text.sample(name, &[("name", &listed.name)], listed.failures.into());
        }
    }
}
