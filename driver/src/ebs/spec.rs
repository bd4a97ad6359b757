//! What volume a request amounts to, and whether an existing one is that. Pure decisions.

use std::collections::BTreeMap;

use csi_core::capacity::NoSizeFits;
use csi_core::ebs::{CreateVolume, Tags, Volume, VolumeSource, VolumeState};
use csi_core::facts::volume_type;
use csi_core::request::CreateVolume as Request;
use csi_core::topology::ZoneRequirement;
use csi_core::{Capability, CapacityRange, GiB, Invalid, VolumeName, Zone};

use super::performance::{self, SizeOutsideType, Wish};
use super::{Settings, iops_limit, tags};

/// Size of a volume whose request names none.
const DEFAULT_SIZE: GiB = GiB(100);
/// Type of a volume whose class names none.
const DEFAULT_TYPE: &str = "gp3";

/// What is known of the snapshot or volume that a new volume is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceFacts {
    /// Its size; the new volume cannot be smaller.
    pub(super) size: GiB,
    /// Its zone, where it has one: a copy lies in the same.
    pub(super) zone: Option<Zone>,
    /// Its KMS key, if it is a volume.
    pub(super) kms_key: Option<String>,
}

/// A volume to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spec {
    /// Its name.
    pub(super) name: VolumeName,
    /// Sizes that will do.
    pub(super) range: CapacityRange,
    /// Zones that will do.
    pub(super) zones: ZoneRequirement,
    /// Volume context: how to make a file system, and what publishing heeds.
    pub(super) context: BTreeMap<String, String>,
    size: GiB,
    pub(super) volume_type: String,
    iops: Option<u32>,
    /// The most IOPS in zones, where zones differ for this volume and it is known.
    zone_iops: BTreeMap<Zone, u32>,
    throughput: Option<u32>,
    encrypted: bool,
    /// The KMS key, for the message when it proves unusable.
    pub(super) kms_key: Option<String>,
    pub(super) source: Option<VolumeSource>,
    initialization_rate: Option<u32>,
    multi_attach: bool,
    tags: Tags,
}

/// A request that amounts to no volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// A field breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// No size fits the range.
    #[error(transparent)]
    NoSize(#[from] NoSizeFits),
    /// The type does not come in that size.
    #[error(transparent)]
    Type(#[from] SizeOutsideType),
    /// The source is larger.
    #[error(
        "capacity_range: the source has {source_size}, a volume made from it cannot have {size}"
    )]
    SmallerThanSource {
        /// Size of the source.
        source_size: GiB,
        /// Size that was asked for.
        size: GiB,
    },
    /// The source lies in a zone that the request does not allow.
    #[error(
        "the source volume lies in {zone}, where a copy must lie too, and accessibility_requirements \
         do not allow it"
    )]
    SourceZone {
        /// Zone of the source.
        zone: Zone,
    },
}

impl Spec {
    /// Decides on a request; `source` is absent if there is none or if it is not ours to see.
    pub(super) fn resolve(
        request: &Request,
        source: Option<&SourceFacts>,
        settings: &Settings,
    ) -> Result<Self, Unfit> {
        let class = &request.class;
        let volume_type = class.volume_type.clone().unwrap_or_else(|| DEFAULT_TYPE.to_owned());
        let size = choose_size(request.range, &volume_type, source)?;
        let wish = Wish { iops: class.iops, per_gib: class.iops_per_gib, lift: class.lift_iops };
        let iops = performance::iops(&volume_type, size, wish, None)?;
        performance::check_throughput(&volume_type, iops, class.throughput)?;
        let multi_attach = request.capabilities.iter().any(Capability::is_multi_attach);
        if multi_attach && self::volume_type(&volume_type).is_some_and(|facts| !facts.multi_attach)
        {
            let rule =
                format!("several nodes need an io2 volume, and the class makes {volume_type}");
            return Err(Invalid::new("volume_capabilities", rule).into());
        }
        if let Some(source) = source {
            check_copy(request, source)?;
        }
        Ok(Self {
            name: request.name.clone(),
            range: request.range,
            zones: request.zones.clone(),
            context: class.context(),
            size,
            iops,
            zone_iops: BTreeMap::new(),
            throughput: class.throughput,
            encrypted: class.encrypted.unwrap_or(false) || class.kms_key.is_some(),
            kms_key: class.kms_key.clone(),
            source: request.source.clone(),
            // EC2 knows it only for volumes made from snapshots.
            initialization_rate: class
                .initialization_rate
                .filter(|_rate| matches!(request.source, Some(VolumeSource::Snapshot(_)))),
            multi_attach,
            tags: tags::of_volume(&request.name, class, settings)?,
            volume_type,
        })
    }

    /// Whether it matters what the zone grants.
    pub(super) fn depends_on_zone(&self) -> bool {
        iops_limit::depends_on_zone(&self.volume_type, self.iops)
    }

    /// Whether it matters what a zone grants, and it is not known.
    pub(super) fn misses_limit(&self, zone: &Zone) -> bool {
        self.depends_on_zone() && !self.zone_iops.contains_key(zone)
    }

    /// Remembers the most IOPS that a zone grants.
    pub(super) fn limit_iops(&mut self, zone: Zone, most: u32) {
        self.zone_iops.insert(zone, most);
    }

    fn iops_in(&self, zone: &Zone) -> Option<u32> {
        let most = self.zone_iops.get(zone).copied();
        self.iops.map(|iops| most.map_or(iops, |most| iops.min(most)))
    }

    /// Whether a volume in that zone has the IOPS. Where the zone's limit is not known, fewer will
    /// do, as long as every zone does not grant more.
    fn has_iops(&self, volume: &Volume) -> bool {
        let fewer = self.misses_limit(&volume.zone)
            && volume.iops < self.iops
            && !iops_limit::is_below_everywhere(&volume.volume_type, volume.iops);
        fewer || volume.iops == self.iops_in(&volume.zone)
    }

    /// The call that makes it.
    pub(super) fn call(&self, client_token: String, zone: Zone) -> CreateVolume {
        let iops = self.iops_in(&zone);
        CreateVolume {
            client_token,
            size: self.size,
            zone,
            volume_type: self.volume_type.clone(),
            iops,
            throughput: self.throughput,
            encrypted: self.encrypted,
            kms_key: self.kms_key.clone(),
            source: self.source.clone(),
            initialization_rate: self.initialization_rate,
            multi_attach: self.multi_attach,
            tags: self.tags.clone(),
        }
    }

    /// Whether an existing volume of this name is what is asked for. Tags do not count: they may
    /// have been changed by the user, or come from another version of this driver.
    pub(super) fn check(&self, volume: &Volume) -> Result<(), Difference> {
        let differ = |field, has: String, wanted: String| Err(Difference { field, has, wanted });
        let show = |value: Option<u32>| value.map_or_else(|| "none".to_owned(), |v| v.to_string());
        if !self.range.admits(volume.size) {
            return differ("capacity", volume.size.to_string(), self.size.to_string());
        }
        if volume.volume_type != self.volume_type {
            return differ("type", volume.volume_type.clone(), self.volume_type.clone());
        }
        // A larger volume of the allowed range may have got more IOPS by its ratio.
        if self.iops.is_some() && volume.size == self.size && !self.has_iops(volume) {
            return differ("iops", show(volume.iops), show(self.iops));
        }
        if self.throughput.is_some() && volume.throughput != self.throughput {
            return differ("throughput", show(volume.throughput), show(self.throughput));
        }
        // The account may encrypt by default, so an encrypted one is no surprise.
        if self.encrypted && !volume.encrypted {
            return differ("encrypted", "false".to_owned(), "true".to_owned());
        }
        if let (Some(wanted), Some(has)) = (&self.kms_key, &volume.kms_key)
            && wanted.starts_with("arn:")
            && wanted.contains(":key/")
            && wanted != has
        {
            return differ("kmsKeyId", has.clone(), wanted.clone());
        }
        if self.multi_attach && !volume.multi_attach {
            return differ("access mode", "one node".to_owned(), "several nodes".to_owned());
        }
        if self.source != source_of(volume) {
            let show = |source: Option<VolumeSource>| match source {
                None => "nothing".to_owned(),
                Some(VolumeSource::Snapshot(id)) => id.to_string(),
                Some(VolumeSource::Volume(id)) => id.to_string(),
            };
            return differ("source", show(source_of(volume)), show(self.source.clone()));
        }
        if !self.zones.admits(&volume.zone) {
            let wanted: Vec<String> = self.zones.in_order().into_iter().map(|z| z.0).collect();
            return differ("zone", volume.zone.to_string(), wanted.join(" or "));
        }
        Ok(())
    }
}

/// In what an existing volume differs from the one that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// The field.
    pub(super) field: &'static str,
    /// What the volume has.
    pub(super) has: String,
    /// What is asked for.
    pub(super) wanted: String,
}

/// Whether a volume is there to be used, now or soon.
pub(super) fn is_live(state: VolumeState) -> bool {
    match state {
        VolumeState::Creating | VolumeState::Available | VolumeState::InUse => true,
        VolumeState::Deleting | VolumeState::Deleted | VolumeState::Error => false,
    }
}

fn source_of(volume: &Volume) -> Option<VolumeSource> {
    // A copy may show the hidden snapshot it is made through, so its source volume comes first.
    let copied = volume.source_volume.clone().map(VolumeSource::Volume);
    copied.or_else(|| volume.snapshot.clone().map(VolumeSource::Snapshot))
}

fn choose_size(
    range: CapacityRange,
    type_name: &str,
    source: Option<&SourceFacts>,
) -> Result<GiB, Unfit> {
    let least = volume_type(type_name).map_or(GiB(1), |facts| GiB(facts.min_gib));
    let floor = source.map_or(least, |source| source.size.max(least));
    let size = range.choose(DEFAULT_SIZE.max(floor))?;
    if let Some(source) = source
        && size < source.size
    {
        return Err(Unfit::SmallerThanSource { source_size: source.size, size });
    }
    performance::check_size(type_name, size)?;
    Ok(size)
}

/// `CopyVolumes` takes neither a zone nor a key: both are the source's.
fn check_copy(request: &Request, source: &SourceFacts) -> Result<(), Unfit> {
    if !matches!(request.source, Some(VolumeSource::Volume(_))) {
        return Ok(());
    }
    if let Some(zone) = &source.zone
        && !request.zones.admits(zone)
    {
        return Err(Unfit::SourceZone { zone: zone.clone() });
    }
    if let Some(wanted) = &request.class.kms_key
        && Some(wanted) != source.kms_key.as_ref()
    {
        let has = source.kms_key.as_deref().unwrap_or("none");
        let rule = format!("a copy has its source's key, which is {has}, not {wanted}");
        return Err(Invalid::new("kmsKeyId", rule).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
