//! Where a request comes from, if it comes through a proxy.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::HeaderName;
use ipnet::{IpNet, Ipv4Net};

/// What proxies write: each adds the address of whom it hears.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The most proxies that are passed on the way back to the client.
const HOPS_MAX: usize = 16;

/// Networks of proxies whose word is taken.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Arc<[IpNet]>);

impl Proxies {
    /// Those of these networks.
    pub fn new(networks: &[IpNet]) -> Self {
        Self(networks.iter().map(canonical).collect())
    }

    /// The address nearest to this server that is no trusted proxy's; one that a client made up lies behind its own.
    ///
    /// Without a port, which is nowhere said, if it is not that of the connection.
    pub(super) fn origin(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        if self.0.is_empty() {
            return peer;
        }
        let mut nearest = peer;
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let mut hops = lines
            .flat_map(|line| line.to_str().unwrap_or_default().rsplit(','))
            .take(HOPS_MAX);
        while self.trusts(nearest.ip())
            && let Some(ip) = hops.next().and_then(address)
        {
            nearest = SocketAddr::new(ip, 0);
        }
        nearest
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(&ip))
    }
}

/// The network of those for which the addresses of this one stand: so are peers compared.
fn canonical(network: &IpNet) -> IpNet {
    let mapped = || {
        let IpNet::V6(network) = network else {
            return None;
        };
        let length = network.prefix_len().checked_sub(96)?;
        Ipv4Net::new(network.addr().to_ipv4_mapped()?, length).ok()
    };
    mapped().map_or(*network, IpNet::V4)
}

/// An address, which some proxies write with a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    text.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(peer: &str, forwarded: &[&str]) -> String {
        let networks: Vec<IpNet> = ["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"]
            .map(|network| network.parse().unwrap())
            .into();
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        let peer = peer.parse().unwrap();
        Proxies::new(&networks).origin(peer, &headers).to_string()
    }

    #[test]
    fn a_trusted_proxy_says_for_whom_it_asks() {
        for (peer, forwarded, client) in [
            ("127.0.0.1:9", &["192.0.2.7"][..], "192.0.2.7:0"),
            ("127.0.0.1:9", &["192.0.2.7, 10.1.2.3"], "192.0.2.7:0"),
            ("127.0.0.1:9", &["192.0.2.7", "10.1.2.3"], "192.0.2.7:0"),
            ("[::ffff:127.0.0.1]:9", &["192.0.2.7:123"], "192.0.2.7:0"),
            ("[fd00::1]:9", &["[2001:db8::1]:443"], "[2001:db8::1]:0"),
            ("[fd00::1]:9", &["2001:db8::1"], "[2001:db8::1]:0"),
            // All are proxies: it is the farthest.
            ("127.0.0.1:9", &["10.0.0.1,10.0.0.2"], "10.0.0.1:0"),
            ("127.0.0.1:9", &[], "127.0.0.1:9"),
        ] {
            assert_eq!(origin(peer, forwarded), client, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn a_network_of_mapped_addresses_is_that_of_those_for_which_they_stand() {
        let trusts = |network: &str, peer: &str| {
            Proxies::new(&[network.parse().unwrap()]).trusts(peer.parse().unwrap())
        };
        for peer in ["127.0.0.1", "::ffff:127.0.0.1"] {
            for network in [
                "::ffff:127.0.0.1/128",
                "::ffff:127.0.0.0/104",
                "::ffff:0:0/96",
            ] {
                assert!(trusts(network, peer), "{network} {peer}");
            }
            for network in ["::ffff:127.0.0.2/128", "::/0", "::1/128", "::7f00:1/128"] {
                assert!(!trusts(network, peer), "{network} {peer}");
            }
        }
        assert!(trusts("::/0", "fd00::1"));
    }

    #[test]
    fn nobody_else_is_believed() {
        for (peer, forwarded, client) in [
            ("192.0.2.9:9", &["192.0.2.7"][..], "192.0.2.9:9"),
            // Made up by the client, and passed on.
            ("127.0.0.1:9", &["10.0.0.1, 192.0.2.7"], "192.0.2.7:0"),
            ("127.0.0.1:9", &["192.0.2.7, unknown"], "127.0.0.1:9"),
            (
                "127.0.0.1:9",
                &["192.0.2.7, unknown, 10.0.0.1"],
                "10.0.0.1:0",
            ),
            ("127.0.0.1:9", &["\u{e9}"], "127.0.0.1:9"),
        ] {
            assert_eq!(origin(peer, forwarded), client, "{peer} {forwarded:?}");
        }
        let long = "10.0.0.1,".repeat(HOPS_MAX) + "10.0.0.2";
        assert_eq!(origin("127.0.0.1:9", &[&long]), "10.0.0.1:0");
        let headers = HeaderMap::from_iter([(FORWARDED_FOR, "192.0.2.7".parse().unwrap())]);
        let peer = "127.0.0.1:9".parse().unwrap();
        assert_eq!(Proxies::default().origin(peer, &headers), peer);
    }
}
