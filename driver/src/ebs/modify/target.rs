//! What a change amounts to for a volume as it is. Pure decisions.

use csi_core::GiB;
use csi_core::ebs::{Modification, ModifyVolume, Tags, Volume};
use csi_core::parameters::MutableParameters;

use super::super::performance::{self, Wish};
use super::super::tags::{IOPS_PER_GIB_TAG, RAISE_IOPS_TAG};
use super::ModifyError;

/// What shall be different. `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Change {
    /// Size; never less than the volume has.
    pub(super) size: Option<GiB>,
    volume_type: Option<String>,
    iops: Option<u32>,
    iops_per_gib: Option<u32>,
    raise_iops: Option<bool>,
    throughput: Option<u32>,
    /// The most IOPS in the volume's zone, where zones differ and it is known.
    zone_iops: Option<u32>,
}

impl Change {
    pub(super) fn to_size(size: GiB) -> Self {
        Self { size: Some(size), ..Self::default() }
    }

    /// The same with what is known of the zone.
    pub(super) fn within(&self, zone_iops: Option<u32>) -> Self {
        Self { zone_iops, ..self.clone() }
    }

    pub(super) fn of(parameters: &MutableParameters) -> Self {
        Self {
            size: None,
            volume_type: parameters.volume_type.clone(),
            iops: parameters.iops,
            iops_per_gib: parameters.iops_per_gib,
            raise_iops: parameters.raise_iops_on_modify,
            throughput: parameters.throughput,
            zone_iops: None,
        }
    }
}

impl Change {
    /// Both changes in one, unless they contradict each other.
    pub(super) fn and(&self, other: &Self) -> Option<Self> {
        let agree = agree(self.size.as_ref(), other.size.as_ref())
            && agree(self.volume_type.as_ref(), other.volume_type.as_ref())
            && agree(self.iops.as_ref(), other.iops.as_ref())
            && agree(self.iops_per_gib.as_ref(), other.iops_per_gib.as_ref())
            && agree(self.raise_iops.as_ref(), other.raise_iops.as_ref())
            && agree(self.throughput.as_ref(), other.throughput.as_ref());
        agree.then(|| Self {
            size: self.size.or(other.size),
            volume_type: self.volume_type.clone().or_else(|| other.volume_type.clone()),
            iops: self.iops.or(other.iops),
            iops_per_gib: self.iops_per_gib.or(other.iops_per_gib),
            raise_iops: self.raise_iops.or(other.raise_iops),
            throughput: self.throughput.or(other.throughput),
            zone_iops: None,
        })
    }
}

/// Whether at most one of two wishes is there, or both are the same.
fn agree<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
    one.zip(other).is_none_or(|(one, other)| one == other)
}

/// The call that makes the change, or `None` if the volume is as wanted.
pub(super) fn decide(
    volume: &Volume,
    change: &Change,
) -> Result<Option<ModifyVolume>, ModifyError> {
    let size = change.size.map_or(volume.size, |size| size.max(volume.size));
    let type_name = change.volume_type.as_ref().unwrap_or(&volume.volume_type);
    let new_type = *type_name != volume.volume_type;
    if size != volume.size || new_type {
        performance::check_size(type_name, size)?;
    }
    let iops = match wished_iops(volume, change, size) {
        // A modification always lifts to the minimum, as it always has.
        Some(wish) => {
            performance::iops(type_name, size, Wish { lift: true, ..wish }, change.zone_iops)?
        }
        None => None,
    };
    if iops.is_some() || new_type || change.throughput.is_some() {
        let kept = if new_type { None } else { volume.throughput };
        let iops = iops.or(if new_type { None } else { volume.iops });
        performance::check_throughput(type_name, iops, change.throughput.or(kept))?;
    }
    let call = ModifyVolume {
        volume: volume.id.clone(),
        size: Some(size).filter(|size| *size != volume.size),
        volume_type: Some(type_name.clone()).filter(|_| new_type),
        iops: iops.filter(|iops| new_type || Some(*iops) != volume.iops),
        throughput: change.throughput.filter(|wish| new_type || Some(*wish) != volume.throughput),
    };
    let nothing = call.size.is_none()
        && call.volume_type.is_none()
        && call.iops.is_none()
        && call.throughput.is_none();
    Ok((!nothing).then_some(call))
}

/// The IOPS that are asked for: a number, or a ratio if raising is allowed by the request or by
/// the tag that an earlier request left.
fn wished_iops(volume: &Volume, change: &Change, size: GiB) -> Option<Wish> {
    if change.iops.is_some() {
        return Some(Wish { iops: change.iops, ..Wish::default() });
    }
    let tagged = volume.tags.get(RAISE_IOPS_TAG).is_some_and(|raise| raise == "true");
    if !change.raise_iops.unwrap_or(tagged) {
        return None;
    }
    let remembered = || volume.tags.get(IOPS_PER_GIB_TAG).and_then(|ratio| ratio.parse().ok());
    let ratio = match change.iops_per_gib {
        Some(ratio) => Some(ratio),
        // The remembered ratio matters when the size changes.
        None if size != volume.size => remembered(),
        None => None,
    };
    ratio.map(|per_gib| Wish { per_gib: Some(per_gib), ..Wish::default() })
}

/// Whether a modification leads to what a call asks for.
pub(super) fn shows(seen: &Modification, call: &ModifyVolume) -> bool {
    call.size.is_none_or(|size| seen.size == size)
        && call.volume_type.as_ref().is_none_or(|wanted| seen.volume_type == *wanted)
        && call.iops.is_none_or(|iops| seen.iops == Some(iops))
        && call.throughput.is_none_or(|throughput| seen.throughput == Some(throughput))
}

/// Tags to change. All of them are written each time, whatever reads show: what a call just before
/// this one wrote they may not show yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TagChange {
    /// Tags to add or overwrite.
    pub(super) add: Tags,
    /// Keys to delete.
    pub(super) delete: Vec<String>,
}

impl TagChange {
    pub(super) fn of(parameters: &MutableParameters) -> Self {
        let mut add = parameters.tags.clone();
        if let Some(ratio) = parameters.iops_per_gib {
            add.insert(IOPS_PER_GIB_TAG.to_owned(), ratio.to_string());
        }
        if let Some(raise) = parameters.raise_iops_on_modify {
            add.insert(RAISE_IOPS_TAG.to_owned(), raise.to_string());
        }
        Self { add, delete: parameters.deleted_tags.iter().cloned().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use csi_core::Zone;
    use csi_core::ebs::VolumeState;

    fn volume() -> Volume {
        Volume {
            id: "vol-0123456789abcdef0".parse().unwrap(),
            state: VolumeState::InUse,
            size: GiB(10),
            zone: Zone("z1".to_owned()),
            volume_type: "gp3".to_owned(),
            iops: Some(3_000),
            throughput: Some(125),
            encrypted: false,
            kms_key: None,
            snapshot: None,
            source_volume: None,
            multi_attach: false,
            attachments: vec![],
            tags: Tags::new(),
        }
    }

    fn call() -> ModifyVolume {
        ModifyVolume {
            volume: volume().id,
            size: None,
            volume_type: None,
            iops: None,
            throughput: None,
        }
    }

    #[test]
    fn what_is_so_already_asks_for_nothing() {
        let same = Change {
            size: Some(GiB(8)),
            volume_type: Some("gp3".to_owned()),
            iops: Some(3_000),
            throughput: Some(125),
            ..Change::default()
        };
        assert_eq!(decide(&volume(), &same), Ok(None));
        assert_eq!(decide(&volume(), &Change::default()), Ok(None));
    }

    #[test]
    fn only_what_differs_is_sent() {
        let change = Change { size: Some(GiB(20)), iops: Some(3_000), ..Change::default() };
        let want = ModifyVolume { size: Some(GiB(20)), ..call() };
        assert_eq!(decide(&volume(), &change), Ok(Some(want)));
        let change = Change { throughput: Some(200), iops: Some(1), ..Change::default() };
        let want = ModifyVolume { throughput: Some(200), ..call() };
        assert_eq!(decide(&volume(), &change), Ok(Some(want)), "one IOPS is lifted to 3,000");
    }

    #[test]
    fn two_changes_become_one_unless_they_contradict() {
        let size = Change::to_size(GiB(20));
        let iops = Change { iops: Some(4_000), ..Change::default() };
        let both = size.and(&iops).unwrap();
        assert_eq!((both.size, both.iops), (Some(GiB(20)), Some(4_000)));
        assert_eq!(both.and(&iops), Some(both.clone()), "the same wish twice is one");
        assert_eq!(both.and(&Change { iops: Some(5_000), ..Change::default() }), None);
    }

    #[test]
    fn a_new_type_restates_what_is_asked_for() {
        let change =
            Change { volume_type: Some("io2".to_owned()), iops: Some(3_000), ..Change::default() };
        let want =
            ModifyVolume { volume_type: Some("io2".to_owned()), iops: Some(3_000), ..call() };
        assert_eq!(decide(&volume(), &change), Ok(Some(want)));
    }

    #[test]
    fn wrong_wishes_are_refused_by_name() {
        let error = |change: Change| decide(&volume(), &change).unwrap_err().to_string();
        let throughput = Change { throughput: Some(1_000), ..Change::default() };
        assert!(error(throughput).starts_with("throughput:"));
        let small = Change { volume_type: Some("st1".to_owned()), ..Change::default() };
        assert!(error(small).contains("125 GiB"));
    }

    #[test]
    fn a_remembered_ratio_raises_iops_with_the_size_if_that_was_allowed() {
        let mut tagged = volume();
        tagged.tags.insert(IOPS_PER_GIB_TAG.to_owned(), "400".to_owned());
        let grow = Change { size: Some(GiB(20)), ..Change::default() };
        assert_eq!(decide(&tagged, &grow).unwrap().unwrap().iops, None);
        tagged.tags.insert(RAISE_IOPS_TAG.to_owned(), "true".to_owned());
        assert_eq!(decide(&tagged, &grow).unwrap().unwrap().iops, Some(8_000));
    }

    #[test]
    fn ratios_are_remembered_as_tags_beside_the_users() {
        let parameters = MutableParameters {
            tags: Tags::from([("a".to_owned(), "1".to_owned())]),
            deleted_tags: ["c".to_owned()].into(),
            iops_per_gib: Some(5),
            ..MutableParameters::default()
        };
        let change = TagChange::of(&parameters);
        let added: Vec<&str> = change.add.keys().map(String::as_str).collect();
        assert_eq!(added, ["a", IOPS_PER_GIB_TAG]);
        assert_eq!(change.delete, ["c"]);
    }
}
