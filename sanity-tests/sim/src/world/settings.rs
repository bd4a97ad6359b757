//! How fast, how consistent and how generous the world is.

use std::time::Duration;

use csi_core::facts;
use serde::{Deserialize, Serialize};

use super::Millis;
use super::rng::Rng;

/// How long something takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delay {
    /// No time at all.
    Zero,
    /// Always so many milliseconds.
    FixedMs(u64),
    /// Evenly spread between two numbers of milliseconds.
    UniformMs(u64, u64),
    /// Log-normally spread, as service times are.
    Spread {
        /// The median in milliseconds.
        median_ms: u64,
        /// The 99th percentile as a multiple of the median.
        p99_to_median: f64,
    },
}

impl Delay {
    fn spread(median: Duration) -> Self {
        let median_ms = u64::try_from(median.as_millis()).unwrap_or(u64::MAX);
        Self::Spread { median_ms, p99_to_median: facts::P99_TO_MEDIAN }
    }

    pub(crate) fn sample(self, rng: &mut Rng) -> Millis {
        match self {
            Self::Zero => 0,
            Self::FixedMs(ms) => ms,
            Self::UniformMs(low, high) => {
                low + rng.bits() % high.saturating_sub(low).saturating_add(1).max(1)
            }
            Self::Spread { median_ms, p99_to_median } => {
                // 2.326 is the 99th percentile of the standard normal distribution.
                let sigma = p99_to_median.max(1.0).ln() / 2.326;
                // An outlier beyond 4 sigma would only make test times unpredictable.
                let factor = (sigma * rng.normal().clamp(-4.0, 4.0)).exp();
                let delay = Duration::from_millis(median_ms).mul_f64(factor);
                u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)
            }
        }
    }
}

/// What a client token answers whose volume has since failed or been deleted. Both were reported
/// of EC2; a driver must live with either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpentToken {
    /// `IdempotentParameterMismatch`.
    Mismatch,
    /// The volume as it was last.
    Replay,
}

/// All that can be set about a world at any time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `creating` → `available`.
    pub create: Delay,
    /// `attaching` → `attached`.
    pub attach: Delay,
    /// `detaching` → gone.
    pub detach: Delay,
    /// `modifying` → `optimizing`.
    pub modify: Delay,
    /// `optimizing` → `completed`.
    pub optimize: Delay,
    /// Snapshot `pending` → `completed`.
    pub snapshot: Delay,
    /// From the creation of a volume that holds a snapshot or a copy until all of it is there.
    pub initialize: Delay,
    /// `deleting` → gone from every list.
    pub delete: Delay,
    /// Access point `creating` → `available`.
    pub access_point: Delay,
    /// Access point `deleting` → gone from every list.
    pub access_point_delete: Delay,
    /// How long a write stays invisible to Describe calls.
    pub read_lag: Delay,
    /// Least milliseconds between two snapshots of one volume
    /// (`SnapshotCreationPerVolumeRateExceeded`); EC2's is 15,000.
    pub snapshot_spacing_ms: u64,
    /// How long client tokens are remembered, in milliseconds.
    pub token_life_ms: u64,
    /// What a token answers whose volume is gone.
    pub spent_token: SpentToken,
    /// Volumes the account may have (`VolumeLimitExceeded`).
    pub volume_quota: u32,
    /// Snapshots the account may have (`SnapshotLimitExceeded`).
    pub snapshot_quota: u32,
    /// Access points that a file system may have (`AccessPointLimitExceeded`).
    pub access_point_quota: usize,
    /// Whether actions have token buckets (`RequestLimitExceeded`).
    pub throttle: bool,
}

impl Settings {
    /// As AWS: times and lag as measured or documented (`csi_core::facts`). Modification and
    /// snapshot times depend on size and load on EC2; these are those of small volumes. EFS's
    /// times are a guess: nothing is published.
    #[must_use]
    pub fn ec2() -> Self {
        Self {
            create: Delay::spread(facts::CREATE_MEDIAN),
            attach: Delay::spread(facts::ATTACH_MEDIAN),
            detach: Delay::spread(facts::ATTACH_MEDIAN),
            modify: Delay::spread(Duration::from_secs(2)),
            optimize: Delay::spread(Duration::from_secs(20)),
            snapshot: Delay::spread(Duration::from_secs(4)),
            initialize: Delay::FixedMs(30_000),
            delete: Delay::spread(Duration::from_secs(1)),
            access_point: Delay::spread(Duration::from_millis(500)),
            access_point_delete: Delay::spread(Duration::from_secs(1)),
            read_lag: Delay::UniformMs(0, 1_000),
            ..Self::instant()
        }
    }

    /// Everything takes effect and is seen at once; rules and quotas are EC2's.
    #[must_use]
    pub fn instant() -> Self {
        Self {
            create: Delay::Zero,
            attach: Delay::Zero,
            detach: Delay::Zero,
            modify: Delay::Zero,
            optimize: Delay::Zero,
            snapshot: Delay::Zero,
            initialize: Delay::Zero,
            delete: Delay::Zero,
            access_point: Delay::Zero,
            access_point_delete: Delay::Zero,
            read_lag: Delay::Zero,
            snapshot_spacing_ms: 0,
            token_life_ms: 12 * 3_600_000,
            spent_token: SpentToken::Mismatch,
            volume_quota: 10_000,
            snapshot_quota: 100_000,
            access_point_quota: facts::efs::ACCESS_POINTS_PER_FILE_SYSTEM,
            throttle: false,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::ec2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_delay_has_its_median_and_its_99th_percentile() {
        let mut rng = Rng::new(7);
        let delay = Delay::Spread { median_ms: 1_500, p99_to_median: 2.7 };
        let mut samples: Vec<_> = (0..10_000).map(|_| delay.sample(&mut rng)).collect();
        samples.sort_unstable();
        assert!((1_450..1_550).contains(&samples[5_000]), "median {}", samples[5_000]);
        assert!((3_750..4_350).contains(&samples[9_900]), "p99 {}", samples[9_900]);
    }

    #[test]
    fn the_same_seed_gives_the_same_delays() {
        let sample = |seed| Delay::UniformMs(0, 1_000).sample(&mut Rng::new(seed));
        assert_eq!(sample(1), sample(1));
        assert_ne!(sample(1), sample(2));
    }
}
