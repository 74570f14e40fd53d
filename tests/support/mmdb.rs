//! Writes databases in MaxMind's format (MaxMind DB File Format Specification 2.0), as GeoLite2-Country is one: an
//! IPv6 tree with records of 24 bits, in which IPv4 is ::/96.

use std::net::IpAddr;

/// When they were built, in seconds since the Unix epoch.
pub(crate) const BUILT: u32 = 1_764_460_800;

/// One side of a node.
#[derive(Clone, Copy)]
enum Record {
    Empty,
    Node(usize),
    /// The country of this number.
    Country(usize),
}

/// A database of these networks, less specific ones first, each with the code of its country.
pub(crate) fn mmdb(networks: &[(&str, &str)]) -> Vec<u8> {
    let mut codes: Vec<&str> = networks.iter().map(|(_, code)| *code).collect();
    codes.sort_unstable();
    codes.dedup();
    let mut nodes = vec![[Record::Empty; 2]];
    for (network, code) in networks {
        let country = codes.iter().position(|known| known == code).expect("one of them");
        put(&mut nodes, network, Record::Country(country));
    }
    let records = codes.iter().map(|code| map(&[("country", map(&[("iso_code", text(code))]))]));
    let records: Vec<Vec<u8>> = records.collect();
    let at = |country: usize| records[..country].iter().map(Vec::len).sum::<usize>();
    let mut out = Vec::new();
    for record in nodes.iter().flatten() {
        let value = match *record {
            Record::Empty => nodes.len(),
            Record::Node(node) => node,
            // Behind the tree and the 16 bytes after it.
            Record::Country(country) => nodes.len() + 16 + at(country),
        };
        out.extend_from_slice(&u32::try_from(value).expect("a small tree").to_be_bytes()[1..]);
    }
    out.extend_from_slice(&[0; 16]);
    out.extend(records.into_iter().flatten());
    out.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    out.extend(map(&[
        ("node_count", number(6, nodes.len())),
        ("record_size", number(5, 24)),
        ("ip_version", number(5, 6)),
        ("database_type", text("Test-Country")),
        // An array of none: a type beyond 7.
        ("languages", vec![0, 11 - 7]),
        ("binary_format_major_version", number(5, 2)),
        ("binary_format_minor_version", number(5, 0)),
        // 64 bits, and that is a type beyond 7, too.
        ("build_epoch", [&[4, 9 - 7], &BUILT.to_be_bytes()[..]].concat()),
        ("description", map(&[("en", text("Countries of a test"))])),
    ]));
    out
}

/// Puts a network into the tree.
fn put(nodes: &mut Vec<[Record; 2]>, network: &str, country: Record) {
    let (address, length) = network.split_once('/').expect("a network");
    let length: u32 = length.parse().expect("a length");
    let (bits, length) = match address.parse().expect("an address") {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 96 + length),
        IpAddr::V6(v6) => (v6.to_bits(), length),
    };
    let mut node = 0;
    for depth in 0..length {
        let side = usize::from(bits >> (127 - depth) & 1 == 1);
        if depth + 1 == length {
            nodes[node][side] = country;
            return;
        }
        node = match nodes[node][side] {
            Record::Node(next) => next,
            // What is said of the whole network holds for both halves.
            other => {
                nodes.push([other; 2]);
                nodes[node][side] = Record::Node(nodes.len() - 1);
                nodes.len() - 1
            }
        };
    }
}

fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 29).expect("a short text");
    [&[2 << 5 | length], text.as_bytes()].concat()
}

fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let count = u8::try_from(entries.len()).ok().filter(|count| *count < 29).expect("a small map");
    let mut out = vec![7 << 5 | count];
    for (key, value) in entries {
        out.extend(text(key));
        out.extend_from_slice(value);
    }
    out
}

/// An unsigned number: type 5 has 16 bits, type 6 has 32.
fn number(kind: u8, number: usize) -> Vec<u8> {
    let bytes = u32::try_from(number).expect("a small number").to_be_bytes();
    let significant = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len())..];
    let length = u8::try_from(significant.len()).expect("at most 4");
    [&[kind << 5 | length], significant].concat()
}
