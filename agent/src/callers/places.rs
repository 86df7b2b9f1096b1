//! Places for connections, overall and for each client.

use foldhash::{HashMap, HashMapExt as _};
use parking_lot::Mutex;
use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

/// A client's network by IPv6: whoever has one address of it has them all (RFC 6177).
const V6_PREFIX_BITS: u32 = 64;

/// All connections of callers, on all cores.
#[derive(Debug, Clone)]
pub(crate) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    overall: usize,
    per_client: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug)]
struct Taken {
    overall: usize,
    /// One entry for each client that has a connection, so never more than `overall`.
    clients: HashMap<IpAddr, usize>,
}

/// A place that is taken; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    client: Option<IpAddr>,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Overall,
    Client,
}

impl Places {
    pub(crate) fn new(overall: usize, per_client: usize) -> Self {
        let taken = Mutex::new(Taken { overall: 0, clients: HashMap::new() });
        Self(Arc::new(Shared { overall, per_client, taken }))
    }

    /// `client` is `None` for a proxy, which has the callers of many.
    pub(crate) fn take(&self, client: Option<IpAddr>) -> Result<Place, Full> {
        let client = client.map(network);
        let mut taken = self.0.taken.lock();
        if taken.overall >= self.0.overall {
            return Err(Full::Overall);
        }
        if let Some(client) = client {
            let own = taken.clients.get(&client).copied().unwrap_or(0);
            if own >= self.0.per_client {
                return Err(Full::Client);
            }
            taken.clients.insert(client, own + 1);
        }
        taken.overall += 1;
        Ok(Place { shared: Arc::clone(&self.0), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.shared.taken.lock();
        taken.overall = taken.overall.saturating_sub(1);
        let Some(client) = self.client else { return };
        match taken.clients.get_mut(&client) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                taken.clients.remove(&client);
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(
            address.to_bits() >> (128 - V6_PREFIX_BITS) << (128 - V6_PREFIX_BITS),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(places: &Places, address: &str) -> Result<Place, Full> {
        places.take(Some(address.parse().unwrap()))
    }

    #[test]
    fn each_client_has_its_places_and_all_together_have_theirs() {
        let places = Places::new(4, 2);
        let held = [take(&places, "10.0.0.1"), take(&places, "10.0.0.1")].map(Result::unwrap);
        assert_eq!(take(&places, "10.0.0.1").unwrap_err(), Full::Client);
        let _proxy = [places.take(None), places.take(None)].map(Result::unwrap);
        assert_eq!(take(&places, "10.0.0.2").unwrap_err(), Full::Overall);
        drop(held);
        let _again = [take(&places, "10.0.0.1"), take(&places, "10.0.0.1")].map(Result::unwrap);
        assert_eq!(places.0.taken.lock().clients.len(), 1);
    }

    #[test]
    fn one_client_is_a_network_of_64_bits_and_has_one_address_however_it_is_written() {
        let places = Places::new(9, 1);
        let _held = [take(&places, "2001:db8:0:1::1"), take(&places, "::ffff:10.0.0.1")].map(Result::unwrap);
        assert_eq!(take(&places, "2001:db8:0:1:ffff::9").unwrap_err(), Full::Client);
        assert_eq!(take(&places, "10.0.0.1").unwrap_err(), Full::Client);
        take(&places, "2001:db8:0:2::1").unwrap();
    }
}
