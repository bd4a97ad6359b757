//! The most IOPS that a zone grants a volume type, where zones differ.
//!
//! EC2 has no action that tells it. A dry run of a creation with more IOPS than there can be is
//! refused with the number in the text. One dry run for each type and zone serves everybody; it is
//! made only for wishes above what every zone grants.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use csi_core::ebs::{CreateVolume, Ebs};
use csi_core::facts::volume_type;
use csi_core::{Chain, ErrorKind, GiB, Zone};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Settings, tags};
use crate::call::{Failed, repeat};

/// Zones get new hardware now and then.
const FRESH: Duration = Duration::from_hours(12);
/// How long nobody asks again after a dry run that told nothing.
const PAUSE: Duration = Duration::from_mins(10);
/// The same after one that had no answer, since creations fail meanwhile.
const SHORT_PAUSE: Duration = Duration::from_secs(30);
/// How long a creation waits for a dry run: long enough for a second one where the port gave the
/// first one up.
const PATIENCE: Duration = Duration::from_secs(20);
/// The size of upstream's dry run; every type with IOPS has it.
const SIZE: GiB = GiB(4);

/// What dry runs told.
#[derive(Debug, Default)]
pub(super) struct IopsLimits(Mutex<HashMap<Key, Arc<Slot>>>);

/// A type and a zone.
type Key = (String, Zone);
/// Held during a dry run, so that it is made once.
type Slot = tokio::sync::Mutex<Option<Known>>;

#[derive(Debug, Clone, Copy)]
struct Known {
    most: Option<u32>,
    until: Instant,
}

/// Whether zones differ in what they grant for this wish.
pub(super) fn depends_on_zone(type_name: &str, iops: Option<u32>) -> bool {
    let facts = volume_type(type_name).and_then(|facts| facts.iops);
    facts.zip(iops).is_some_and(|(facts, iops)| iops > facts.max_everywhere)
}

/// Whether every zone grants more than these IOPS.
pub(super) fn is_below_everywhere(type_name: &str, iops: Option<u32>) -> bool {
    let facts = volume_type(type_name).and_then(|facts| facts.iops);
    facts.is_some_and(|facts| iops.is_none_or(|iops| iops < facts.max_everywhere))
}

impl IopsLimits {
    /// The most IOPS of a type in a zone, or `None` if EC2 does not tell; then EC2 judges the
    /// creation itself.
    pub(super) async fn most<C: Ebs>(
        &self,
        ec2: &C,
        settings: &Settings,
        type_name: &str,
        zone: &Zone,
    ) -> Option<u32> {
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry((type_name.to_owned(), zone.clone())).or_default())
        };
        let mut known = slot.lock().await;
        if let Some(known) = known.filter(|known| Instant::now() < known.until) {
            return known.most;
        }
        let (most, fresh) = ask(ec2, settings, type_name, zone).await;
        *known = Some(Known { most, until: Instant::now() + fresh });
        most
    }
}

/// The most IOPS, if EC2 tells, and how long that serves.
async fn ask<C: Ebs>(
    ec2: &C,
    settings: &Settings,
    type_name: &str,
    zone: &Zone,
) -> (Option<u32>, Duration) {
    let call = CreateVolume {
        client_token: String::new(),
        size: SIZE,
        zone: zone.clone(),
        volume_type: type_name.to_owned(),
        iops: u32::try_from(i32::MAX).ok(),
        throughput: None,
        encrypted: false,
        kms_key: None,
        source: None,
        initialization_rate: None,
        multi_attach: false,
        tags: tags::of_dry_run(settings),
    };
    let run = repeat(Instant::now() + PATIENCE, || ec2.dry_run_create(call.clone())).await;
    let Err(Failed { error, .. }) = run else { return (None, PAUSE) };
    if let Some(most) = maximum(&error.message) {
        debug!(type_name, %zone, most, "the most IOPS");
        return (Some(most), FRESH);
    }
    warn!(type_name, %zone, error = %Chain(&error), "EC2 does not tell the most IOPS");
    match error.kind {
        ErrorKind::Throttled | ErrorKind::Unavailable | ErrorKind::NoAnswer => (None, SHORT_PAUSE),
        _ => (None, PAUSE),
    }
}

/// The limit in EC2's words, "Volume iops of 2147483647 is too high; maximum is 80000." or "… up
/// to 64K IOPS". Both were seen by upstream.
fn maximum(message: &str) -> Option<u32> {
    let message = message.to_lowercase();
    if !message.contains("iops") {
        return None;
    }
    if let Some((_, rest)) = message.split_once("maximum is ") {
        return digits(rest.trim_start()).parse().ok();
    }
    let (before, _) = message.split_once("k iops")?;
    let start = before.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    before.get(start..)?.parse::<u32>().ok()?.checked_mul(1_000)
}

fn digits(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_text_are_read_and_others_tell_nothing() {
        let text = "Volume iops of 2147483647 is too high; maximum is 80000.";
        assert_eq!(maximum(text), Some(80_000));
        assert_eq!(maximum("io1 volumes support up to 64K IOPS."), Some(64_000));
        for text in
            ["", "iops", "maximum is 3", "K IOPS", "99999999999K IOPS", "The iops maximum is x"]
        {
            assert_eq!(maximum(text), None, "{text}");
        }
    }

    #[test]
    fn only_wishes_above_what_every_zone_grants_depend_on_the_zone() {
        assert!(!depends_on_zone("gp3", Some(16_000)) && depends_on_zone("gp3", Some(16_001)));
        assert!(!depends_on_zone("gp3", None) && !depends_on_zone("gp4", Some(99_999)));
    }
}
