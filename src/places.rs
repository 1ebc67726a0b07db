//! Who may work at one time: a pool of places, and a few for each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// All places.
pub struct Places(Arc<Shared>);

struct Shared {
    pool: Arc<Semaphore>,
    per_address_max: usize,
    /// Holds only addresses with work or waiting for some.
    addresses: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// A place of one address.
pub struct AddressPlace {
    permit: Option<OwnedSemaphorePermit>,
    semaphore: Option<Arc<Semaphore>>,
    address: IpAddr,
    shared: Arc<Shared>,
}

/// A place of one address and in the pool; both are free again when it is dropped.
pub struct Place {
    _pool: OwnedSemaphorePermit,
    _address: AddressPlace,
}

impl Places {
    /// So many in the pool, of which an address may take, or wait for, some.
    pub fn new(count: usize, per_address_max: usize) -> Self {
        Self(Arc::new(Shared {
            pool: Arc::new(Semaphore::new(count)),
            per_address_max,
            addresses: Mutex::default(),
        }))
    }

    /// A place of the network of `peer`, or none until `deadline`.
    pub async fn of_address(&self, peer: IpAddr, deadline: Instant) -> Option<AddressPlace> {
        let mut place = self.0.claim(network(peer));
        let semaphore = place.semaphore.clone()?;
        place.permit = acquire(semaphore, deadline).await;
        place.permit.is_some().then_some(place)
    }

    /// Waits until no place of the pool is taken.
    pub async fn all_free(&self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        // An error would mean a closed semaphore, and this one is never closed.
        let _ = self.0.pool.acquire_many(count).await;
    }

    /// How many places of the pool are taken.
    pub fn taken(&self, count: usize) -> usize {
        count.saturating_sub(self.0.pool.available_permits())
    }

    #[cfg(test)]
    fn addresses(&self) -> usize {
        self.0.addresses.lock().unwrap().len()
    }
}

impl Shared {
    fn claim(self: &Arc<Self>, address: IpAddr) -> AddressPlace {
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let semaphore = addresses
            .entry(address)
            .or_insert_with(|| Arc::new(Semaphore::new(self.per_address_max)));
        AddressPlace {
            permit: None,
            semaphore: Some(Arc::clone(semaphore)),
            address,
            shared: Arc::clone(self),
        }
    }
}

impl AddressPlace {
    /// A place in the pool too, or none until `deadline`.
    pub async fn in_pool(self, deadline: Instant) -> Option<Place> {
        let pool = acquire(Arc::clone(&self.shared.pool), deadline).await?;
        Some(Place {
            _pool: pool,
            _address: self,
        })
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let addresses = &self.shared.addresses;
        let mut addresses = addresses.lock().unwrap_or_else(PoisonError::into_inner);
        self.permit = None;
        self.semaphore = None;
        let is_last = |semaphore: &Arc<Semaphore>| Arc::strong_count(semaphore) == 1;
        if addresses.get(&self.address).is_some_and(is_last) {
            addresses.remove(&self.address);
        }
    }
}

/// A permit, taken at once if there is one, else waited for until `deadline`.
async fn acquire(semaphore: Arc<Semaphore>, deadline: Instant) -> Option<OwnedSemaphorePermit> {
    timeout_at(deadline, semaphore.acquire_owned())
        .await
        .ok()?
        .ok()
}

/// The part of an address that one client cannot change at will: of IPv6 the first 64 bits.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_client_is_its_first_64_bits_and_a_mapped_ipv4_is_itself() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
    }

    #[tokio::test]
    async fn an_address_has_its_own_few_places_and_is_forgotten_after_them() {
        let places = Places::new(8, 1);
        let now = Instant::now();
        let one = places.of_address([127, 0, 0, 1].into(), now).await.unwrap();
        assert!(
            places
                .of_address([127, 0, 0, 1].into(), now)
                .await
                .is_none()
        );
        let other = places.of_address([127, 0, 0, 2].into(), now).await.unwrap();
        assert_eq!(places.addresses(), 2);
        drop(one);
        let again = places.of_address([127, 0, 0, 1].into(), now).await.unwrap();
        drop((again, other));
        assert_eq!(places.addresses(), 0);
    }
}
