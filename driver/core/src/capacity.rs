//! Sizes. The CSI speaks of bytes, EC2 of GiB; the conversion happens here and nowhere else.

use std::fmt;

use csi_proto::csi;

use crate::rpc_error::Invalid;

const GIB: u64 = 1 << 30;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

impl Bytes {
    /// The number as CSI messages carry it. EBS volumes end at 64 TiB, far below `i64::MAX`.
    #[must_use]
    pub fn to_csi(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

/// A number of GiB (2^30 bytes), EC2's unit of volume sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GiB(pub u32);

impl GiB {
    /// The size in bytes.
    #[must_use]
    pub fn bytes(self) -> Bytes {
        Bytes(u64::from(self.0) * GIB)
    }

    /// The smallest whole number of GiB that holds `bytes`; `None` beyond what EC2 can express.
    #[must_use]
    pub fn holding(bytes: Bytes) -> Option<Self> {
        i32::try_from(bytes.0.div_ceil(GIB)).ok().and_then(|n| u32::try_from(n).ok()).map(Self)
    }
}

impl fmt::Display for GiB {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} GiB", self.0)
    }
}

/// What a CO asks of a volume's size. 0 in a message means "unset" (CSI specification,
/// `CapacityRange`); both ends unset is the same as no range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapacityRange {
    required: Option<Bytes>,
    limit: Option<Bytes>,
}

/// No whole number of GiB lies within a capacity range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "capacity_range: no whole number of GiB lies between required_bytes {required} and limit_bytes {limit}"
)]
pub struct NoSizeFits {
    /// The lower end in bytes, 0 if unset.
    pub required: u64,
    /// The upper end in bytes, `u64::MAX` if unset.
    pub limit: u64,
}

impl CapacityRange {
    /// Reads a message's range.
    ///
    /// # Errors
    /// A negative number or a limit below what is required.
    pub fn parse(range: Option<&csi::CapacityRange>) -> Result<Self, Invalid> {
        let Some(range) = range else { return Ok(Self::default()) };
        let required = positive("capacity_range.required_bytes", range.required_bytes)?;
        let limit = positive("capacity_range.limit_bytes", range.limit_bytes)?;
        if let (Some(required), Some(limit)) = (required, limit)
            && limit < required
        {
            return Err(Invalid::new(
                "capacity_range",
                format!("limit_bytes {} is below required_bytes {}", limit.0, required.0),
            ));
        }
        Ok(Self { required, limit })
    }

    /// The lower end, if it is set.
    #[must_use]
    pub fn required(&self) -> Option<Bytes> {
        self.required
    }

    /// Whether neither end is set.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.required.is_none() && self.limit.is_none()
    }

    /// The size to make: the smallest that suffices, or `default` without a lower end (or the
    /// limit, if that is smaller than the default).
    ///
    /// # Errors
    /// No whole number of GiB, at least one, fits.
    pub fn choose(&self, default: GiB) -> Result<GiB, NoSizeFits> {
        let limit = self.limit.map_or(u64::MAX, |limit| limit.0);
        let wanted = match self.required {
            Some(required) => GiB::holding(required),
            None => Some(GiB(
                u32::try_from((limit / GIB).min(u64::from(default.0))).unwrap_or(default.0)
            )),
        };
        wanted.filter(|size| size.0 > 0 && size.bytes().0 <= limit).ok_or_else(|| NoSizeFits {
            required: self.required.map_or(0, |required| required.0),
            limit,
        })
    }

    /// Whether an existing size satisfies the range.
    #[must_use]
    pub fn admits(&self, size: GiB) -> bool {
        self.required.is_none_or(|required| size.bytes() >= required)
            && self.limit.is_none_or(|limit| size.bytes() <= limit)
    }
}

fn positive(field: &'static str, value: i64) -> Result<Option<Bytes>, Invalid> {
    match u64::try_from(value) {
        Ok(0) => Ok(None),
        Ok(bytes) => Ok(Some(Bytes(bytes))),
        Err(_) => Err(Invalid::new(field, format!("must not be negative, got {value}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(required: i64, limit: i64) -> Result<CapacityRange, Invalid> {
        CapacityRange::parse(Some(&csi::CapacityRange {
            required_bytes: required,
            limit_bytes: limit,
        }))
    }

    const G: i64 = 1 << 30;

    #[test]
    fn no_range_takes_the_default_and_a_lower_limit_takes_the_limit() {
        assert_eq!(CapacityRange::default().choose(GiB(100)), Ok(GiB(100)));
        assert_eq!(range(0, 5 * G + 1).unwrap().choose(GiB(100)), Ok(GiB(5)));
    }

    #[test]
    fn a_size_is_rounded_up_to_whole_gib_and_never_beyond_the_limit() {
        assert_eq!(range(4 * G + 1, 0).unwrap().choose(GiB(100)), Ok(GiB(5)));
        assert!(range(4 * G + 1, 5 * G - 1).unwrap().choose(GiB(100)).is_err());
        assert!(range(0, G - 1).unwrap().choose(GiB(100)).is_err());
    }

    #[test]
    fn negative_and_inverted_ranges_are_refused_by_name() {
        assert_eq!(range(-1, 0).unwrap_err().field, "capacity_range.required_bytes");
        assert_eq!(range(2, 1).unwrap_err().field, "capacity_range");
    }

    proptest! {
        #[test]
        fn a_chosen_size_is_always_admitted(required in any::<i64>(), limit in any::<i64>()) {
            if let Ok(range) = range(required, limit)
                && let Ok(size) = range.choose(GiB(100))
            {
                prop_assert!(range.admits(size));
            }
        }
    }
}
