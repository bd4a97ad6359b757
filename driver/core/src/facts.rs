//! What EC2 does, as far as driver and simulator both rely on it: one place, each number with its
//! source and how sure we are of it. A guess that only one of the two made would show up in a
//! test; a guess that both share is visible only here.

pub mod efs;

use std::time::Duration;

/// Limits of a volume type. Source: EBS user guide, "Amazon EBS volume types" (2025-11);
/// certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeFacts {
    /// The name in the API.
    pub name: &'static str,
    /// Smallest size in GiB.
    pub min_gib: u32,
    /// Largest size in GiB.
    pub max_gib: u32,
    /// IOPS that may be asked for.
    pub iops: Option<IopsFacts>,
    /// Throughput that may be asked for.
    pub throughput: Option<ThroughputFacts>,
    /// Whether several instances may attach one volume.
    pub multi_attach: bool,
}

/// Limits of provisioned IOPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IopsFacts {
    /// Fewest.
    pub min: u32,
    /// Most, in a zone that has the newest hardware.
    pub max: u32,
    /// Most that every zone grants.
    pub max_everywhere: u32,
    /// Most per GiB of size.
    pub per_gib: u32,
    /// What a volume gets without asking; `None` where the API demands a number.
    pub default: Option<u32>,
}

/// Limits of provisioned throughput, in MiB/s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThroughputFacts {
    /// Least.
    pub min: u32,
    /// Most, in a zone that has the newest hardware.
    pub max: u32,
    /// IOPS needed for each MiB/s.
    pub iops_per_mib: u32,
    /// What a volume gets without asking.
    pub default: u32,
}

/// The volume types that can be created.
pub const VOLUME_TYPES: [TypeFacts; 7] = [
    TypeFacts {
        name: "gp3",
        min_gib: 1,
        max_gib: 65_536,
        iops: Some(IopsFacts {
            min: 3_000,
            max: 80_000,
            max_everywhere: 16_000,
            per_gib: 500,
            default: Some(3_000),
        }),
        throughput: Some(ThroughputFacts { min: 125, max: 2_000, iops_per_mib: 4, default: 125 }),
        multi_attach: false,
    },
    TypeFacts {
        name: "gp2",
        min_gib: 1,
        max_gib: 16_384,
        iops: None,
        throughput: None,
        multi_attach: false,
    },
    TypeFacts {
        name: "io1",
        min_gib: 4,
        max_gib: 16_384,
        iops: Some(IopsFacts {
            min: 100,
            max: 64_000,
            max_everywhere: 64_000,
            per_gib: 50,
            default: None,
        }),
        throughput: None,
        multi_attach: true,
    },
    TypeFacts {
        name: "io2",
        min_gib: 4,
        max_gib: 65_536,
        iops: Some(IopsFacts {
            min: 100,
            max: 256_000,
            max_everywhere: 64_000,
            per_gib: 1_000,
            default: None,
        }),
        throughput: None,
        multi_attach: true,
    },
    TypeFacts {
        name: "st1",
        min_gib: 125,
        max_gib: 16_384,
        iops: None,
        throughput: None,
        multi_attach: false,
    },
    TypeFacts {
        name: "sc1",
        min_gib: 125,
        max_gib: 16_384,
        iops: None,
        throughput: None,
        multi_attach: false,
    },
    TypeFacts {
        name: "standard",
        min_gib: 1,
        max_gib: 1_024,
        iops: None,
        throughput: None,
        multi_attach: false,
    },
];

/// The facts of a type, or `None` for one that we do not know (EC2 may).
#[must_use]
pub fn volume_type(name: &str) -> Option<&'static TypeFacts> {
    VOLUME_TYPES.iter().find(|facts| facts.name == name)
}

/// How long a write may stay invisible to reads. EC2's "eventual consistency" has no documented
/// bound; seconds were seen. A guess, on the safe side.
pub const READ_LAG_BOUND: Duration = Duration::from_secs(10);

/// Modifications of one volume within [`MODIFICATION_WINDOW`], each after the last is completed.
/// Source: EBS user guide, "Request modifications" (2026-01); certain of the text.
pub const MODIFICATIONS_PER_WINDOW: usize = 4;
/// The rolling window of [`MODIFICATIONS_PER_WINDOW`].
pub const MODIFICATION_WINDOW: Duration = Duration::from_hours(24);

/// After this long in `attaching` an attachment is stuck. Upstream's experience; likely.
pub const STUCK_ATTACHING: Duration = Duration::from_secs(90);

/// Values per filter of a Describe. Source: EC2 API reference, "Filter"; certain.
pub const FILTER_VALUES: usize = 200;

/// Rows per page of a Describe. Source: EC2 API reference, `MaxResults`; certain.
pub const PAGE_MIN: u16 = 5;
/// See [`PAGE_MIN`].
pub const PAGE_MAX: u16 = 1_000;

/// Median time from `CreateVolume` to `available`. Upstream's measurement; likely.
pub const CREATE_MEDIAN: Duration = Duration::from_millis(1_500);
/// Median time of an attach or a detach. Upstream's measurement; likely.
pub const ATTACH_MEDIAN: Duration = Duration::from_secs(1);
/// The 99th percentile of both, as a multiple of the median. A guess from a few figures.
pub const P99_TO_MEDIAN: f64 = 2.7;

/// Token buckets of one action: burst and refill per second. Source: EC2 API reference, "Request
/// throttling", as remembered; likely.
pub const READ_BUCKET: (u32, u32) = (100, 20);
/// The bucket of `CreateVolume`; see [`READ_BUCKET`].
pub const CREATE_VOLUME_BUCKET: (u32, u32) = (100, 5);
/// The bucket of each other write; see [`READ_BUCKET`].
pub const WRITE_BUCKET: (u32, u32) = (50, 5);
