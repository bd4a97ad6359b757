//! What size, type, IOPS and throughput may go together (numbers: `csi_core::facts`).

use csi_core::facts::{self, IopsFacts, TypeFacts};

use super::error::AwsError;

/// A checked configuration, with what EC2 fills in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) size: u32,
    pub(crate) volume_type: String,
    pub(crate) iops: Option<u32>,
    pub(crate) throughput: Option<u32>,
    pub(crate) multi_attach: bool,
}

impl Config {
    /// Checks a configuration and fills in defaults. `newest` says whether the zone has the
    /// hardware for the highest limits.
    pub(crate) fn check(mut self, newest: bool) -> Result<Self, AwsError> {
        let name = self.volume_type.as_str();
        let facts = facts::volume_type(name).ok_or_else(|| {
            AwsError::new("UnknownVolumeType", format!("Unknown volume type: {name}"))
        })?;
        check_size(self.size, facts)?;
        self.iops = match &facts.iops {
            Some(limits) => Some(check_iops(self.iops, self.size, limits, newest)?),
            None if self.iops.is_some() => return Err(unsupported("iops", name)),
            None if name == "gp2" => Some(gp2_iops(self.size)),
            None => None,
        };
        self.throughput = check_throughput(self.throughput, self.iops, facts)?;
        if self.multi_attach && !facts.multi_attach {
            return Err(AwsError::combination(format!(
                "Multi-Attach is not supported for {name} volumes"
            )));
        }
        Ok(self)
    }
}

/// EBS user guide, "General Purpose SSD": 3 IOPS per GiB, from 100 to 16,000.
fn gp2_iops(size: u32) -> u32 {
    size.saturating_mul(3).clamp(100, 16_000)
}

fn unsupported(parameter: &str, name: &str) -> AwsError {
    AwsError::combination(format!("The parameter {parameter} is not supported for {name} volumes."))
}

fn check_size(size: u32, facts: &TypeFacts) -> Result<(), AwsError> {
    let TypeFacts { name, min_gib, max_gib, .. } = facts;
    if size < *min_gib {
        return Err(AwsError::value(format!(
            "Volume of {size}GiB is too small for volume type {name}; minimum is {min_gib}GiB"
        )));
    }
    if size > *max_gib {
        return Err(AwsError::value(format!(
            "Volume of {size}GiB is too large for volume type {name}; maximum is {max_gib}GiB"
        )));
    }
    Ok(())
}

/// The absolute limit is checked before the ratio: a dry run with absurd IOPS tells the limit.
fn check_iops(
    wanted: Option<u32>,
    size: u32,
    limits: &IopsFacts,
    newest: bool,
) -> Result<u32, AwsError> {
    let iops = wanted.or(limits.default).ok_or_else(|| AwsError::missing("iops"))?;
    let max = if newest { limits.max } else { limits.max_everywhere };
    if iops > max {
        return Err(AwsError::value(format!(
            "Volume iops of {iops} is too high; maximum is {max}."
        )));
    }
    if iops < limits.min {
        return Err(AwsError::value(format!(
            "Volume iops of {iops} is too low; minimum is {}.",
            limits.min
        )));
    }
    // What a type includes without asking has no ratio: a gp3 volume of 1 GiB has 3,000 IOPS.
    if Some(iops) != limits.default && iops > size.saturating_mul(limits.per_gib) {
        return Err(AwsError::value(format!(
            "Iops to volume size ratio of {:.6} is too high; maximum is {}",
            f64::from(iops) / f64::from(size),
            limits.per_gib
        )));
    }
    Ok(iops)
}

fn check_throughput(
    wanted: Option<u32>,
    iops: Option<u32>,
    facts: &TypeFacts,
) -> Result<Option<u32>, AwsError> {
    let Some(limits) = &facts.throughput else {
        return match wanted {
            Some(_) => Err(unsupported("throughput", facts.name)),
            None => Ok(None),
        };
    };
    let throughput = wanted.unwrap_or(limits.default);
    if throughput > limits.max {
        return Err(AwsError::value(format!(
            "Throughput of {throughput}MiBps is too high; maximum is {}MiBps.",
            limits.max
        )));
    }
    if throughput < limits.min {
        return Err(AwsError::value(format!(
            "Throughput of {throughput}MiBps is too low; minimum is {}MiBps.",
            limits.min
        )));
    }
    let iops = iops.unwrap_or_default();
    if iops < throughput.saturating_mul(limits.iops_per_mib) {
        return Err(AwsError::value(format!(
            "Throughput (MiBps) to iops ratio of {:.6} is too high; maximum is {:.6}.",
            f64::from(throughput) / f64::from(iops),
            1.0 / f64::from(limits.iops_per_mib)
        )));
    }
    Ok(Some(throughput))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(volume_type: &str, size: u32, iops: Option<u32>, mib: Option<u32>) -> Config {
        Config {
            size,
            volume_type: volume_type.to_owned(),
            iops,
            throughput: mib,
            multi_attach: false,
        }
    }

    fn refusal(config: Config) -> String {
        config.check(false).unwrap_err().to_string()
    }

    #[test]
    fn a_gp3_volume_gets_3000_iops_and_125_mib_per_second_at_any_size() {
        let checked = config("gp3", 1, None, None).check(true).unwrap();
        assert_eq!((checked.iops, checked.throughput), (Some(3_000), Some(125)));
    }

    #[test]
    fn gp3_iops_beyond_500_per_gib_are_refused_with_the_ratio() {
        assert_eq!(
            refusal(config("gp3", 4, Some(4_000), None)),
            "InvalidParameterValue: Iops to volume size ratio of 1000.000000 is too high; \
             maximum is 500"
        );
        config("gp3", 8, Some(4_000), Some(400)).check(true).unwrap();
    }

    #[test]
    fn a_dry_run_with_absurd_iops_tells_the_zones_maximum() {
        let absurd = || config("gp3", 4, Some(2_147_483_647), None);
        assert!(refusal(absurd()).contains("too high; maximum is 16000"));
        let newest = absurd().check(true).unwrap_err().to_string();
        assert!(newest.contains("too high; maximum is 80000"), "{newest}");
    }

    #[test]
    fn throughput_needs_four_iops_per_mib() {
        assert!(refusal(config("gp3", 100, Some(3_000), Some(800))).contains("iops ratio"));
        config("gp3", 100, Some(3_200), Some(800)).check(false).unwrap();
    }

    #[test]
    fn parameters_that_a_type_lacks_are_a_wrong_combination() {
        assert!(refusal(config("gp2", 10, Some(300), None)).contains("Combination"));
        assert!(refusal(config("io2", 10, Some(300), Some(200))).contains("Combination"));
        let shared = Config { multi_attach: true, ..config("gp3", 10, None, None) };
        assert!(refusal(shared).contains("Multi-Attach"));
        assert!(refusal(config("io2", 10, None, None)).starts_with("MissingParameter"));
    }

    #[test]
    fn sizes_have_both_ends() {
        assert!(refusal(config("st1", 124, None, None)).contains("minimum is 125GiB"));
        assert!(refusal(config("gp2", 16_385, None, None)).contains("maximum is 16384GiB"));
        assert!(refusal(config("gp9", 10, None, None)).starts_with("UnknownVolumeType"));
    }
}
