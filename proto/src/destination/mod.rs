//! Where a URL that a tenant wrote may lead.
//!
//! Both planes dial such URLs: gateways fetch issuers' keys, the control plane delivers to webhooks and meters. From
//! inside a data centre they could lead to what no stranger may reach: the engine behind its gateway, a neighbour's
//! Redis, the cloud's metadata service with its credentials. So such a URL leads to public addresses, over TLS, on the
//! usual ports, and nowhere else but where the host's operator allows it. The two planes must agree on that, or one
//! would accept what the other refuses; hence this stands with the contract.
//!
//! Pure: a name is resolved by whoever dials, who checks *each* address that it got, and dials one of these and not the
//! name again. Checked by name and dialled by name, a DNS server could answer differently the second time.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};
use thiserror::Error;
use url::Url;

/// HTTPS, and its usual second. Any other port of a public host is somebody else's protocol.
const PORTS: [u16; 2] = [443, 8443];

/// Networks that the operator of a host may name. A site has a handful; each is looked at for each address.
const MAX_EXCEPTIONS: usize = 64;

/// What no tenant's URL may lead to: the special-purpose registries of IANA (RFC 6890), and two addresses of clouds that
/// stand in none. A part comes before the whole that it is in.
const NOT_PUBLIC_V4: [(Ipv4Net, &str); 17] = [
    (v4([169, 254, 169, 254], 32), "the metadata service"),
    (v4([100, 100, 100, 200], 32), "the metadata service"),
    (v4([168, 63, 129, 16], 32), "the metadata service"),
    (v4([0, 0, 0, 0], 8), "unspecified"),
    (v4([10, 0, 0, 0], 8), "private"),
    (v4([100, 64, 0, 0], 10), "carrier-grade NAT"),
    (v4([127, 0, 0, 0], 8), "loopback"),
    (v4([169, 254, 0, 0], 16), "link-local"),
    (v4([172, 16, 0, 0], 12), "private"),
    (v4([192, 0, 0, 0], 24), "for protocols"),
    (v4([192, 0, 2, 0], 24), "for documentation"),
    (v4([192, 88, 99, 0], 24), "a 6to4 relay"),
    (v4([192, 168, 0, 0], 16), "private"),
    (v4([198, 18, 0, 0], 15), "for benchmarks"),
    (v4([198, 51, 100, 0], 24), "for documentation"),
    (v4([203, 0, 113, 0], 24), "for documentation"),
    (v4([224, 0, 0, 0], 4), "multicast"),
];

/// RFC 1112 section 4; the last of them is the broadcast address.
const RESERVED_V4: Ipv4Net = v4([240, 0, 0, 0], 4);

/// Of IPv6 only this is given out for use on the Internet (RFC 4291 section 2.4), so the table need not be complete.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

const NOT_PUBLIC_V6: [(Ipv6Net, &str); 17] = [
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128), "the metadata service"),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), "unspecified"),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "loopback"),
    // These carry an address of the other family, which the kernel or a router takes out again.
    (v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), "IPv4-mapped"),
    (v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96), "IPv4-translated"),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 96), "IPv4-compatible"),
    (v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96), "NAT64"),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), "NAT64"),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), "6to4"),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), "Teredo"),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), "for protocols"),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), "for documentation"),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), "for documentation"),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), "private (unique local)"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "link-local"),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), "site-local"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "multicast"),
];

/// Why a tenant's URL is not followed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Forbidden {
    #[error("the scheme is {0}, not https")]
    Scheme(String),
    #[error("the address carries a user or a password")]
    UserInfo,
    #[error("port {0} is neither 443 nor 8443")]
    Port(u16),
    #[error("it leads to {address}, which is {range} and not public")]
    Address { address: IpAddr, range: &'static str },
}

/// Networks to which tenants' URLs may lead although they are not public, over plain HTTP and on any port too. For the
/// operator of a host to name, and for nobody else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exceptions(Vec<IpNet>);

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidExceptions {
    #[error("{0:?} is neither an address nor a network such as 10.1.0.0/16 or fd00::/8")]
    NotANetwork(String),
    #[error("{0} has bits behind its prefix; write {1}")]
    HostBits(IpNet, IpNet),
    #[error("has {0} networks, more than {MAX_EXCEPTIONS}")]
    TooMany(usize),
}

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

impl FromStr for Exceptions {
    type Err = InvalidExceptions;

    /// Addresses and networks in CIDR notation with commas between.
    fn from_str(text: &str) -> Result<Self, InvalidExceptions> {
        let parts: Vec<_> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        if parts.len() > MAX_EXCEPTIONS {
            return Err(InvalidExceptions::TooMany(parts.len()));
        }
        let network = |part: &str| {
            let one = part.parse::<IpAddr>().map(IpNet::from);
            let network: IpNet =
                one.or_else(|_| part.parse()).map_err(|_| InvalidExceptions::NotANetwork(part.to_owned()))?;
            // 10.0.0.1/8 could mean one address or sixteen million.
            if network.trunc() == network {
                Ok(network)
            } else {
                Err(InvalidExceptions::HostBits(network, network.trunc()))
            }
        };
        Ok(Self(parts.into_iter().map(network).collect::<Result<_, _>>()?))
    }
}

impl Exceptions {
    /// Whether `url` may be dialled at `addresses`, which are all that its host has.
    ///
    /// # Errors
    ///
    /// The first rule that is broken. One address of many is enough: a name that stands for a public and for a private
    /// one is a trick or a mistake, and which of them is dialled would be chance.
    pub fn check(&self, url: &Url, addresses: &[SocketAddr]) -> Result<(), Forbidden> {
        // Whatever the address: none of what we fetch has any use for it, and it would stand in logs.
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Forbidden::UserInfo);
        }
        addresses.iter().try_for_each(|address| self.check_one(url, *address))
    }

    fn check_one(&self, url: &Url, address: SocketAddr) -> Result<(), Forbidden> {
        let ip = address.ip();
        if self.0.iter().any(|network| network.contains(&ip)) {
            return Ok(());
        }
        if let Some(range) = not_public(ip) {
            return Err(Forbidden::Address { address: ip, range });
        }
        if url.scheme() != "https" {
            return Err(Forbidden::Scheme(url.scheme().to_owned()));
        }
        if PORTS.contains(&address.port()) { Ok(()) } else { Err(Forbidden::Port(address.port())) }
    }
}

/// What kind of address it is, when it is none of the public Internet.
fn not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(ip) => NOT_PUBLIC_V4
            .iter()
            .find(|(network, _)| network.contains(&ip))
            .map(|(_, range)| *range)
            .or(RESERVED_V4.contains(&ip).then_some("reserved")),
        IpAddr::V6(ip) => NOT_PUBLIC_V6
            .iter()
            .find(|(network, _)| network.contains(&ip))
            .map(|(_, range)| *range)
            .or((!GLOBAL_V6.contains(&ip)).then_some("reserved")),
    }
}

#[cfg(test)]
mod tests;
