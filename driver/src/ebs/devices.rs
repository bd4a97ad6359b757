//! Device names. EC2 wants one for each attachment; on today's instances it says nothing about
//! where the device appears, but it must be free, and old instances do use it.
//!
//! Taken are the names that EC2 lists for the instance and those of this process's own attaches
//! under way. A listing serves for a moment, so that a burst of attaches costs one; names given
//! back since it was begun count as taken until the next. Nothing is remembered beyond that.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use csi_core::ebs::Ebs;
use csi_core::{ApiError, InstanceId, VolumeId, device_name};
use tokio::time::Instant;

use super::Shared;
use crate::call::repeat;

/// How long a listing of an instance's devices serves.
const FRESH: Duration = Duration::from_secs(2);

/// The names as EC2 has them, in the order of choice.
fn names() -> impl Iterator<Item = String> {
    device_name::all().map(|name| format!("/dev/{name}"))
}

/// What is known of the instances' device names.
#[derive(Debug, Default)]
pub(super) struct Devices(Arc<Mutex<HashMap<InstanceId, Known>>>);

#[derive(Debug, Default)]
struct Known {
    listing: Option<Listing>,
    in_flight: BTreeSet<String>,
    given_back: Vec<(String, Instant)>,
}

#[derive(Debug, Clone)]
struct Listing {
    /// When it was asked for.
    began: Instant,
    /// Names with the volumes behind them.
    devices: BTreeMap<String, VolumeId>,
}

/// A name that nobody else in this process takes, until this is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    /// The name.
    pub(super) name: String,
    instance: InstanceId,
    known: Arc<Mutex<HashMap<InstanceId, Known>>>,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut known = lock(&self.known);
        if let Some(known) = known.get_mut(&self.instance) {
            known.in_flight.remove(&self.name);
            known.given_back.push((self.name.clone(), Instant::now()));
        }
        drop(known);
    }
}

/// Why there is no name.
#[derive(Debug)]
pub(super) enum NoName {
    /// There is no such instance.
    NoInstance,
    /// All names are taken.
    AllTaken,
    /// EC2 does not say which are taken.
    Unknown(ApiError),
}

/// What came of looking for a free name.
#[derive(Debug)]
enum Tried {
    Reserved(Reserved),
    AllTaken,
    /// A listing is needed first.
    NotListed,
}

impl Devices {
    /// Reserves a name that is free on the instance and not among `avoid`.
    pub(super) async fn reserve<C: Ebs>(
        &self,
        shared: &Shared<C>,
        instance: &InstanceId,
        avoid: &BTreeSet<String>,
        until: Instant,
    ) -> Result<Reserved, NoName> {
        loop {
            match self.try_reserve(instance, avoid) {
                Tried::Reserved(reserved) => return Ok(reserved),
                Tried::AllTaken => return Err(NoName::AllTaken),
                Tried::NotListed => self.list(shared, instance, until).await?,
            }
        }
    }

    /// The device that EC2 listed for a volume; the listing may be a moment old.
    pub(super) fn listed(&self, instance: &InstanceId, volume: &VolumeId) -> bool {
        let has = |listing: &Listing| listing.devices.values().any(|found| found == volume);
        lock(&self.0).get(instance).is_some_and(|known| known.listing.as_ref().is_some_and(has))
    }

    /// Forgets the listing, for it has proved wrong.
    pub(super) fn doubt(&self, instance: &InstanceId) {
        if let Some(known) = lock(&self.0).get_mut(instance) {
            known.listing = None;
        }
    }

    async fn list<C: Ebs>(
        &self,
        shared: &Shared<C>,
        instance: &InstanceId,
        until: Instant,
    ) -> Result<(), NoName> {
        let began = Instant::now();
        let look = || shared.instances.up(instance.clone());
        let found = repeat(until, look).await.map_err(|failed| NoName::Unknown(failed.error))?;
        let found = found.ok_or(NoName::NoInstance)?;
        let mut known = lock(&self.0);
        let mine = known.entry(instance.clone()).or_default();
        if mine.listing.as_ref().is_none_or(|listing| listing.began < began) {
            mine.listing = Some(Listing { began, devices: found.devices });
            mine.given_back.retain(|(_name, at)| *at >= began);
        }
        drop(known);
        Ok(())
    }

    fn try_reserve(&self, instance: &InstanceId, avoid: &BTreeSet<String>) -> Tried {
        let mut all = lock(&self.0);
        let now = Instant::now();
        all.retain(|_instance, known| !known.in_flight.is_empty() || known.is_fresh(now));
        let Some(known) = all.get_mut(instance).filter(|known| known.is_fresh(now)) else {
            return Tried::NotListed;
        };
        let free = names().find(|name| !avoid.contains(name) && !known.takes(name));
        let Some(name) = free else { return Tried::AllTaken };
        known.in_flight.insert(name.clone());
        drop(all);
        let known = Arc::clone(&self.0);
        Tried::Reserved(Reserved { name, instance: instance.clone(), known })
    }
}

impl Known {
    fn is_fresh(&self, now: Instant) -> bool {
        self.listing.as_ref().is_some_and(|listing| now - listing.began < FRESH)
    }

    fn takes(&self, name: &str) -> bool {
        let listed = |name: &str| {
            self.listing.as_ref().is_some_and(|listing| listing.devices.contains_key(name))
        };
        // EC2 takes sdb and xvdb for one.
        let other = match name.strip_prefix("/dev/sd") {
            Some(rest) => format!("/dev/xvd{rest}"),
            None => name.replacen("/dev/xvd", "/dev/sd", 1),
        };
        listed(name)
            || listed(&other)
            || self.in_flight.contains(name)
            || self.given_back.iter().any(|(back, _at)| back == name)
    }
}

fn lock(known: &Mutex<HashMap<InstanceId, Known>>) -> MutexGuard<'_, HashMap<InstanceId, Known>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(devices: &[&str]) -> (Devices, InstanceId) {
        let instance: InstanceId = "i-0123456789abcdef0".parse().unwrap();
        let volume: VolumeId = "vol-0123456789abcdef0".parse().unwrap();
        let devices = devices.iter().map(|name| ((*name).to_owned(), volume.clone())).collect();
        let listing = Listing { began: Instant::now(), devices };
        let known = Known { listing: Some(listing), ..Known::default() };
        let devices = Devices::default();
        lock(&devices.0).insert(instance.clone(), known);
        (devices, instance)
    }

    fn name(tried: Tried) -> Reserved {
        match tried {
            Tried::Reserved(reserved) => reserved,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn listed_names_names_in_flight_and_names_just_given_back_are_not_given() {
        let (devices, instance) = listed(&["/dev/xvdaa", "/dev/sdac"]);
        let none = BTreeSet::new();
        let first = name(devices.try_reserve(&instance, &none));
        assert_eq!(first.name, "/dev/xvdab");
        let second = name(devices.try_reserve(&instance, &none));
        assert_eq!(second.name, "/dev/xvdad", "sdac and xvdac are one");
        drop(first);
        let third = name(devices.try_reserve(&instance, &none));
        assert_eq!(third.name, "/dev/xvdae", "xvdab may be attached since the listing");
        let avoid = BTreeSet::from(["/dev/xvdaf".to_owned()]);
        assert_eq!(name(devices.try_reserve(&instance, &avoid)).name, "/dev/xvdag");
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_listing_does_not_serve_and_nothing_is_kept_of_an_idle_instance() {
        let (devices, instance) = listed(&[]);
        drop(name(devices.try_reserve(&instance, &BTreeSet::new())));
        tokio::time::advance(FRESH).await;
        let tried = devices.try_reserve(&instance, &BTreeSet::new());
        assert!(matches!(tried, Tried::NotListed), "{tried:?}");
        assert!(lock(&devices.0).is_empty());
    }
}
