//! IOPS and throughput: what a volume of some type and size can have. Wrong wishes are refused
//! with the rule here, since EC2's refusal comes late and says less.

use csi_core::facts::{TypeFacts, volume_type};
use csi_core::{GiB, Invalid};

/// IOPS as a class asks for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wish {
    /// A number.
    pub(super) iops: Option<u32>,
    /// A number for each GiB.
    pub(super) per_gib: Option<u32>,
    /// Whether a number below the type's minimum is lifted to it.
    pub(super) lift: bool,
}

/// The IOPS to ask EC2 for, `None` for its default. A number above what the type has, or grants
/// for the size, is lowered, as this driver's users are used to; it is refused where even the
/// type's minimum is more than the size grants. Types we do not know are left to EC2. `zone_max`
/// is what the type has in the zone, if that is known.
pub(super) fn iops(
    type_name: &str,
    size: GiB,
    wish: Wish,
    zone_max: Option<u32>,
) -> Result<Option<u32>, Invalid> {
    let field = if wish.per_gib.is_some() { "iopsPerGB" } else { "iops" };
    let refuse = |rule: String| Err(Invalid::new(field, rule));
    let asked = wish.iops.or_else(|| wish.per_gib.map(|ratio| ratio.saturating_mul(size.0)));
    let Some(facts) = volume_type(type_name) else { return Ok(asked) };
    let Some(limits) = facts.iops else {
        return match asked {
            None => Ok(None),
            Some(_) => refuse(format!("{type_name} volumes have no IOPS to choose")),
        };
    };
    let Some(asked) = asked else {
        return match limits.default {
            Some(_) => Ok(None),
            None => {
                refuse(format!("must be set for {type_name}, {} to {}", limits.min, limits.max))
            }
        };
    };
    let asked = if wish.lift { asked.max(limits.min) } else { asked };
    if asked < limits.min {
        return refuse(format!(
            "{type_name} has {} to {} IOPS, got {asked}; set allowAutoIOPSPerGBIncrease to lift it",
            limits.min, limits.max
        ));
    }
    let asked = asked.min(zone_max.unwrap_or(limits.max).max(limits.min));
    let granted = limits.per_gib.saturating_mul(size.0);
    if asked <= granted || asked == limits.min {
        Ok(Some(asked))
    } else if granted >= limits.min {
        Ok(Some(granted))
    } else {
        refuse(format!(
            "{type_name} grants {} IOPS for each GiB, so {asked} IOPS need {} or more; the volume \
             has {size}",
            limits.per_gib,
            GiB(asked.div_ceil(limits.per_gib))
        ))
    }
}

/// Checks a throughput in MiB/s against the type and the IOPS beside it (`None` is the type's
/// default).
pub(super) fn check_throughput(
    type_name: &str,
    iops: Option<u32>,
    asked: Option<u32>,
) -> Result<(), Invalid> {
    let refuse = |rule: String| Err(Invalid::new("throughput", rule));
    let (Some(asked), Some(facts)) = (asked, volume_type(type_name)) else { return Ok(()) };
    let Some(limits) = facts.throughput else {
        return refuse(format!("{type_name} volumes have no throughput to choose"));
    };
    if asked < limits.min || asked > limits.max {
        return refuse(format!(
            "{type_name} has {} to {} MiB/s, got {asked}",
            limits.min, limits.max
        ));
    }
    let needed = asked.saturating_mul(limits.iops_per_mib);
    let iops = iops.or_else(|| facts.iops.and_then(|iops| iops.default)).unwrap_or(0);
    if needed > iops {
        return refuse(format!(
            "{asked} MiB/s need {needed} IOPS or more ({} for each MiB/s), and the volume has \
             {iops}; raise iops",
            limits.iops_per_mib
        ));
    }
    Ok(())
}

/// A size that a volume type does not come in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("capacity_range: {type_name} volumes have {min} to {max}, got {size}")]
pub(crate) struct SizeOutsideType {
    /// The type.
    pub type_name: String,
    /// Its smallest size.
    pub min: GiB,
    /// Its largest size.
    pub max: GiB,
    /// The size that was asked for.
    pub size: GiB,
}

/// Checks a size against the type.
pub(super) fn check_size(type_name: &str, size: GiB) -> Result<(), SizeOutsideType> {
    match volume_type(type_name) {
        Some(&TypeFacts { min_gib, max_gib, .. }) if size.0 < min_gib || size.0 > max_gib => {
            Err(SizeOutsideType {
                type_name: type_name.to_owned(),
                min: GiB(min_gib),
                max: GiB(max_gib),
                size,
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iops(type_name: &str, size: GiB, wish: Wish) -> Result<Option<u32>, Invalid> {
        super::iops(type_name, size, wish, None)
    }

    fn wish(iops: u32) -> Wish {
        Wish { iops: Some(iops), ..Wish::default() }
    }

    fn ratio(per_gib: u32, lift: bool) -> Wish {
        Wish { per_gib: Some(per_gib), lift, ..Wish::default() }
    }

    #[test]
    fn four_thousand_iops_on_four_gib_are_refused_with_the_size_they_need() {
        let error = iops("gp3", GiB(4), wish(4_000)).unwrap_err();
        assert_eq!(error.field, "iops");
        assert!(error.rule.contains("500 IOPS for each GiB"), "{error}");
        assert!(error.rule.contains("need 8 GiB or more"), "{error}");
        assert_eq!(iops("gp3", GiB(8), wish(4_000)), Ok(Some(4_000)));
    }

    #[test]
    fn iops_are_lowered_to_what_type_and_size_grant() {
        assert_eq!(iops("gp3", GiB(7), wish(4_000)), Ok(Some(3_500)));
        assert_eq!(iops("gp3", GiB(1_000), wish(90_000)), Ok(Some(80_000)));
        assert_eq!(iops("io1", GiB(4), ratio(1_000, false)), Ok(Some(200)));
        assert_eq!(iops("io2", GiB(u32::MAX), ratio(u32::MAX, false)), Ok(Some(256_000)));
    }

    #[test]
    fn iops_are_lowered_to_what_the_zone_has() {
        let in_zone = |max| super::iops("gp3", GiB(1_000), wish(90_000), Some(max));
        assert_eq!(in_zone(16_000), Ok(Some(16_000)));
        assert_eq!(in_zone(100_000), Ok(Some(90_000)), "more than was ever known");
    }

    #[test]
    fn the_minimum_is_always_granted_and_reached_only_on_request() {
        assert_eq!(iops("gp3", GiB(1), wish(3_000)), Ok(Some(3_000)));
        assert_eq!(iops("gp3", GiB(1), ratio(1, true)), Ok(Some(3_000)));
        assert_eq!(iops("gp3", GiB(1), ratio(1, false)).unwrap_err().field, "iopsPerGB");
    }

    #[test]
    fn types_without_iops_and_types_that_demand_them_say_so() {
        assert_eq!(iops("gp2", GiB(10), Wish::default()), Ok(None));
        assert!(iops("gp2", GiB(10), wish(100)).is_err());
        assert!(iops("io2", GiB(10), Wish::default()).unwrap_err().rule.contains("must be set"));
        assert_eq!(iops("gp4", GiB(10), wish(7)), Ok(Some(7)), "a type of tomorrow");
    }

    #[test]
    fn throughput_needs_its_type_its_range_and_its_iops() {
        assert_eq!(check_throughput("gp3", Some(4_000), Some(400)), Ok(()));
        assert_eq!(check_throughput("gp3", None, Some(750)), Ok(()));
        let error = check_throughput("gp3", None, Some(751)).unwrap_err();
        assert!(error.rule.contains("3004 IOPS"), "{error}");
        assert!(check_throughput("gp3", None, Some(124)).is_err());
        assert!(check_throughput("gp3", Some(80_000), Some(2_001)).is_err());
        assert!(check_throughput("gp2", None, Some(125)).is_err());
        assert_eq!(check_throughput("gp4", None, Some(1)), Ok(()));
    }

    #[test]
    fn sizes_have_ends() {
        assert_eq!(check_size("gp3", GiB(65_536)), Ok(()));
        assert!(check_size("gp3", GiB(65_537)).is_err());
        assert!(check_size("st1", GiB(124)).unwrap_err().to_string().contains("125 GiB"));
        assert_eq!(check_size("gp4", GiB(1)), Ok(()));
    }
}
