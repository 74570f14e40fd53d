//! What a connection to a member begins with that takes the PROXY protocol: the address of the client for which it
//! is opened. The spec is haproxy's `proxy-protocol.txt`.

use ppp::v2::{Builder, Command, Protocol, Version};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use weir_config::ProxyProtocol;

/// The header of a connection for a client to a member at `to`; without a client it is the node's own. The port of
/// the client is not known any more when its request is sent, and stands as 0.
pub(super) fn header(
    version: ProxyProtocol,
    client: Option<IpAddr>,
    to: Option<SocketAddr>,
) -> Vec<u8> {
    let own = |bytes: &[u8]| bytes.to_vec();
    let Some(client) = client.map(|client| client.to_canonical()) else {
        return match version {
            ProxyProtocol::V1 => own(b"PROXY UNKNOWN\r\n"),
            ProxyProtocol::V2 => {
                Builder::new(Version::Two | Command::Local, 0).build().unwrap_or_default()
            }
        };
    };
    let (from, to) = of_one_family(client, to);
    match version {
        ProxyProtocol::V1 => {
            let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from_ip, to_ip) = (from.ip(), to.ip());
            format!("PROXY {family} {from_ip} {to_ip} {} {}\r\n", from.port(), to.port())
                .into_bytes()
        }
        ProxyProtocol::V2 => {
            let addresses = (from, to);
            let header =
                Builder::with_addresses(Version::Two | Command::Proxy, Protocol::Stream, addresses);
            // It fails for a payload of more than 64 KiB alone.
            header.build().unwrap_or_default()
        }
    }
}

/// Both addresses in one family: that of the client, or IPv6 if only one of them is IPv4.
fn of_one_family(client: IpAddr, to: Option<SocketAddr>) -> (SocketAddr, SocketAddr) {
    let unspecified = match client {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let to = to.unwrap_or(SocketAddr::new(unspecified, 0));
    let to = SocketAddr::new(to.ip().to_canonical(), to.port());
    let from = SocketAddr::new(client, 0);
    if from.is_ipv4() == to.is_ipv4() {
        return (from, to);
    }
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    (mapped(from), mapped(to))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ppp::HeaderResult;

    fn line(client: Option<&str>, to: Option<&str>) -> String {
        let client = client.map(|client| client.parse().unwrap());
        let to = to.map(|to| to.parse().unwrap());
        String::from_utf8(header(ProxyProtocol::V1, client, to)).unwrap()
    }

    #[test]
    fn a_line_names_the_client() {
        let to = Some("10.0.0.5:80");
        assert_eq!(line(Some("192.0.2.7"), to), "PROXY TCP4 192.0.2.7 10.0.0.5 0 80\r\n");
        assert_eq!(line(Some("::ffff:192.0.2.7"), to), "PROXY TCP4 192.0.2.7 10.0.0.5 0 80\r\n");
        assert_eq!(
            line(Some("2001:db8::7"), to),
            "PROXY TCP6 2001:db8::7 ::ffff:10.0.0.5 0 80\r\n"
        );
        assert_eq!(line(Some("192.0.2.7"), None), "PROXY TCP4 192.0.2.7 0.0.0.0 0 0\r\n");
        assert_eq!(line(None, to), "PROXY UNKNOWN\r\n");
    }

    #[test]
    fn the_binary_form_is_read_as_it_is_meant() {
        for (client, to) in [
            ("192.0.2.7", "10.0.0.5:80"),
            ("2001:db8::7", "[2001:db8::1]:443"),
            ("192.0.2.7", "[::1]:80"),
        ] {
            let header = header(ProxyProtocol::V2, client.parse().ok(), to.parse().ok());
            let HeaderResult::V2(Ok(read)) = HeaderResult::parse(&header) else {
                panic!("{header:?}")
            };
            assert_eq!((read.command, read.protocol), (Command::Proxy, Protocol::Stream));
            let source = match read.addresses {
                ppp::v2::Addresses::IPv4(v4) => IpAddr::from(v4.source_address),
                ppp::v2::Addresses::IPv6(v6) => IpAddr::from(v6.source_address),
                other => panic!("{other:?}"),
            };
            assert_eq!(source.to_canonical(), client.parse::<IpAddr>().unwrap());
        }
        let own = header(ProxyProtocol::V2, None, None);
        let HeaderResult::V2(Ok(read)) = HeaderResult::parse(&own) else { panic!("{own:?}") };
        assert_eq!(read.command, Command::Local);
    }
}
