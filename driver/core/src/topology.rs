//! Where a volume may lie.

use std::collections::HashMap;
use std::fmt;

use csi_proto::csi;

use crate::rpc_error::Invalid;

/// The zone key that every Kubernetes component knows. Volumes are reported with this one.
pub const ZONE_KEY: &str = "topology.kubernetes.io/zone";
/// The driver's own zone key. Stored PersistentVolumes carry it, so nodes keep reporting it.
pub const EBS_ZONE_KEY: &str = "topology.ebs.csi.aws.com/zone";
/// Operating system key that nodes report beside the zone.
pub const OS_KEY: &str = "kubernetes.io/os";

/// An Availability Zone by name, `us-east-1a`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone(pub String);

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The zones a CO allows for a volume, best first; empty means any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ZoneRequirement {
    preferred: Vec<Zone>,
    requisite: Vec<Zone>,
}

impl ZoneRequirement {
    /// Reads `accessibility_requirements`.
    ///
    /// # Errors
    /// Requirements none of whose terms names a zone, or a term with two different zones.
    pub fn parse(requirement: Option<&csi::TopologyRequirement>) -> Result<Self, Invalid> {
        let Some(requirement) = requirement else { return Ok(Self::default()) };
        let parsed = Self {
            preferred: zones("accessibility_requirements.preferred", &requirement.preferred)?,
            requisite: zones("accessibility_requirements.requisite", &requirement.requisite)?,
        };
        let terms = requirement.preferred.len() + requirement.requisite.len();
        if terms > 0 && parsed.is_open() {
            return Err(Invalid::new(
                "accessibility_requirements",
                format!("no term has {ZONE_KEY} or {EBS_ZONE_KEY}"),
            ));
        }
        Ok(parsed)
    }

    /// Whether any zone will do.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.preferred.is_empty() && self.requisite.is_empty()
    }

    /// The zones to try, best first: preferred ones that are also requisite (or all of them if
    /// nothing is requisite), then the other requisite ones.
    #[must_use]
    pub fn in_order(&self) -> Vec<Zone> {
        let mut order: Vec<Zone> = Vec::new();
        let allowed = |zone: &&Zone| self.requisite.is_empty() || self.requisite.contains(zone);
        for zone in self.preferred.iter().filter(allowed).chain(&self.requisite) {
            if !order.contains(zone) {
                order.push(zone.clone());
            }
        }
        order
    }

    /// Whether a volume in `zone` is accessible as required.
    #[must_use]
    pub fn admits(&self, zone: &Zone) -> bool {
        self.is_open() || self.in_order().contains(zone)
    }
}

fn zones(field: &str, terms: &[csi::Topology]) -> Result<Vec<Zone>, Invalid> {
    let mut zones = Vec::new();
    for term in terms {
        let keys = [ZONE_KEY, EBS_ZONE_KEY];
        let mut named = keys.iter().filter_map(|key| term.segments.get(*key));
        let Some(zone) = named.next() else { continue };
        if named.any(|other| other != zone) {
            return Err(Invalid::new(field, "a term names two different zones"));
        }
        if zone.is_empty() {
            return Err(Invalid::new(field, "a zone must not be empty"));
        }
        zones.push(Zone(zone.clone()));
    }
    Ok(zones)
}

/// The topology of a volume in `zone`.
#[must_use]
pub fn volume_topology(zone: &Zone) -> csi::Topology {
    csi::Topology {
        segments: HashMap::from([(ZONE_KEY.to_owned(), zone.0.clone())]).into_iter().collect(),
    }
}

/// The topology of a Linux node in `zone`.
#[must_use]
pub fn node_topology(zone: &Zone) -> csi::Topology {
    csi::Topology {
        segments: [(ZONE_KEY, zone.0.as_str()), (EBS_ZONE_KEY, zone.0.as_str()), (OS_KEY, "linux")]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(pairs: &[(&str, &str)]) -> csi::Topology {
        csi::Topology {
            segments: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        }
    }

    #[test]
    fn preferred_zones_come_first_and_only_requisite_ones_count() {
        let requirement = csi::TopologyRequirement {
            preferred: vec![term(&[(ZONE_KEY, "z2")]), term(&[(ZONE_KEY, "z9")])],
            requisite: vec![term(&[(EBS_ZONE_KEY, "z1")]), term(&[(ZONE_KEY, "z2")])],
        };
        let parsed = ZoneRequirement::parse(Some(&requirement)).unwrap();
        assert_eq!(parsed.in_order(), [Zone("z2".into()), Zone("z1".into())]);
        assert!(parsed.admits(&Zone("z1".into())) && !parsed.admits(&Zone("z9".into())));
    }

    #[test]
    fn requirements_without_any_zone_are_refused() {
        let requirement = csi::TopologyRequirement {
            preferred: vec![],
            requisite: vec![term(&[("kubernetes.io/os", "linux")])],
        };
        assert!(ZoneRequirement::parse(Some(&requirement)).is_err());
        assert!(ZoneRequirement::parse(None).unwrap().is_open());
    }

    #[test]
    fn a_term_with_two_zones_is_refused() {
        let requirement = csi::TopologyRequirement {
            preferred: vec![term(&[(ZONE_KEY, "z1"), (EBS_ZONE_KEY, "z2")])],
            requisite: vec![],
        };
        assert!(ZoneRequirement::parse(Some(&requirement)).is_err());
    }
}
