//! What EFS does, as far as driver and simulator both rely on it. See [`super`].

use std::time::Duration;

/// Access points per page of `DescribeAccessPoints` at most. Source: EFS API reference,
/// `MaxResults`; certain. Without a wish a page has 100.
pub const PAGE_MAX: u16 = 1_000;

/// Longest client token, in characters. Source: EFS API reference, `CreateAccessPoint`; certain.
pub const CLIENT_TOKEN_MAX: usize = 64;

/// Longest path of an access point's root directory, in bytes. Source: EFS API reference,
/// `RootDirectory`; certain.
pub const ROOT_PATH_MAX: usize = 100;

/// Most directories below `/` in the path of an access point's root directory that the driver
/// has ever made. The API reference says "up to four subdirectories"; five were seen to pass.
pub const ROOT_PATH_DEPTH: usize = 5;

/// Most tags of an access point. Source: EFS user guide, "Tag restrictions"; certain.
pub const TAGS_MAX: usize = 50;

/// Access points per file system by default; adjustable, so only the simulator counts them.
/// Source: EFS user guide, "Amazon EFS quotas" (2025); certain of the text.
pub const ACCESS_POINTS_PER_FILE_SYSTEM: usize = 10_000;

/// How long a write may stay invisible to `DescribeAccessPoints`. Nothing is documented; a guess,
/// on the safe side.
pub const READ_LAG_BOUND: Duration = Duration::from_secs(10);

/// Token bucket of each action: burst and refill per second. Nothing is documented; a guess from
/// users' reports.
pub const BUCKET: (u32, u32) = (50, 10);
