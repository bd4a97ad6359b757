//! Parameters of a `VolumeAttributesClass`, which may change during a volume's life. The same keys
//! come from PVC annotations through the older modification service, and they may accompany a
//! volume's creation.

use std::collections::{BTreeMap, BTreeSet};

use super::template::VOLUME_VARIABLES;
use super::{Claim, Given, InvalidTags, Match, Parameter, tags};
use crate::ebs::Tags;
use crate::rpc_error::Invalid;

/// What a `VolumeAttributesClass` asks for. `None` leaves things as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MutableParameters {
    /// Volume type, as the user wrote it.
    pub volume_type: Option<String>,
    /// IOPS.
    pub iops: Option<u32>,
    /// IOPS for each GiB of size.
    pub iops_per_gib: Option<u32>,
    /// Whether modifications may raise IOPS with the size.
    pub raise_iops_on_modify: Option<bool>,
    /// Throughput in MiB/s.
    pub throughput: Option<u32>,
    /// Tags to add or overwrite.
    pub tags: Tags,
    /// Keys of tags to delete.
    pub deleted_tags: BTreeSet<String>,
    /// The claim that the volume is for.
    pub claim: Claim,
}

/// A `VolumeAttributesClass`'s parameters.
pub static MUTABLE: &[Parameter<MutableParameters>] = &[
    Parameter {
        key: "type",
        matching: Match::AnyCase,
        accepts: "a volume type of EC2, in EC2's spelling",
        default: "unchanged",
        meaning: "Volume type.",
        apply: |mutable, given| {
            mutable.volume_type = given.text().or_else(|| mutable.volume_type.take());
            Ok(())
        },
    },
    Parameter {
        key: "volumeType",
        matching: Match::AnyCase,
        accepts: "as type",
        default: "unchanged",
        meaning: "Older name of type, ignored beside it.",
        apply: |mutable, given| {
            mutable.volume_type = mutable.volume_type.take().or_else(|| given.text());
            Ok(())
        },
    },
    Parameter {
        key: "iops",
        matching: Match::AnyCase,
        accepts: "a whole number; 0 and below mean not set",
        default: "unchanged",
        meaning: "IOPS. Lifted or lowered to what the type grants for the volume's size.",
        apply: |mutable, given| {
            mutable.iops = given.number()?;
            Ok(())
        },
    },
    Parameter {
        key: "throughput",
        matching: Match::AnyCase,
        accepts: "a whole number of MiB/s; 0 and below mean not set",
        default: "unchanged",
        meaning: "Throughput.",
        apply: |mutable, given| {
            mutable.throughput = given.number()?;
            Ok(())
        },
    },
    Parameter {
        key: "iopsPerGB",
        matching: Match::AnyCase,
        accepts: "a whole number; 0 and below mean not set",
        default: "unchanged",
        meaning: "IOPS for each GiB, remembered in a tag. Not together with iops.",
        apply: |mutable, given| {
            mutable.iops_per_gib = given.number()?;
            Ok(())
        },
    },
    Parameter {
        key: "allowAutoIOPSIncreaseOnModify",
        matching: Match::AnyCase,
        accepts: "true or false",
        default: "unchanged",
        meaning: "Keeps the ratio of iopsPerGB when the volume is expanded; remembered in a tag.",
        apply: |mutable, given| {
            mutable.raise_iops_on_modify = Some(given.flag()?);
            Ok(())
        },
    },
    Parameter {
        key: "tagSpecification",
        matching: Match::Prefix,
        accepts: "key=template",
        default: "",
        meaning: "Adds or overwrites a tag.",
        apply: |mutable, given| {
            tags::add(&mut mutable.tags, given, VOLUME_VARIABLES, mutable.claim.values())
        },
    },
    Parameter {
        key: "tagDeletion",
        matching: Match::Prefix,
        accepts: "a tag's key",
        default: "",
        meaning: "Deletes a tag.",
        apply: |mutable, given| {
            tags::check_key(given.key, given.value)?;
            mutable.deleted_tags.insert(given.value.to_owned());
            Ok(())
        },
    },
    metadata("csi.storage.k8s.io/pvc/name", "Variable .PVCName of templates.", |mutable, given| {
        mutable.claim.pvc_name = given.text();
        Ok(())
    }),
    metadata(
        "csi.storage.k8s.io/pvc/namespace",
        "Variable .PVCNamespace of templates.",
        |mutable, given| {
            mutable.claim.pvc_namespace = given.text();
            Ok(())
        },
    ),
    metadata("csi.storage.k8s.io/pv/name", "Variable .PVName of templates.", |mutable, given| {
        mutable.claim.pv_name = given.text();
        Ok(())
    }),
];

const fn metadata(
    key: &'static str,
    meaning: &'static str,
    apply: fn(&mut MutableParameters, &Given<'_>) -> Result<(), Invalid>,
) -> Parameter<MutableParameters> {
    let accepts = "set by the resizer";
    Parameter { key, matching: Match::AnyCase, accepts, default: "", meaning, apply }
}

impl MutableParameters {
    /// Reads a `VolumeAttributesClass`'s parameters.
    ///
    /// # Errors
    /// The first parameter that is unknown or breaks its rule, by name.
    pub fn parse(parameters: &BTreeMap<String, String>) -> Result<Self, Invalid> {
        Self::parse_for(Claim::default(), parameters, InvalidTags::Refuse)
    }

    /// The same for a volume that is being made for a claim.
    ///
    /// # Errors
    /// As [`MutableParameters::parse`].
    pub fn parse_for(
        claim: Claim,
        parameters: &BTreeMap<String, String>,
        invalid_tags: InvalidTags,
    ) -> Result<Self, Invalid> {
        let parsed = Self { claim, ..Self::default() };
        let parsed = super::parse(MUTABLE, parsed, parameters, invalid_tags)?;
        if parsed.iops.is_some() && parsed.iops_per_gib.is_some() {
            return Err(Invalid::new("iopsPerGB", "must not be set together with iops"));
        }
        if let Some(both) = parsed.deleted_tags.iter().find(|key| parsed.tags.contains_key(*key)) {
            return Err(Invalid::new("tagDeletion", format!("tag {both:?} is also to be added")));
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn parse(pairs: &[(&str, &str)]) -> Result<MutableParameters, Invalid> {
        let map = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        MutableParameters::parse(&map)
    }

    #[test]
    fn every_key_is_read() {
        let mutable = parse(&[
            ("type", "io2"),
            ("volumeType", "gp2"),
            ("iopspergb", "10"),
            ("allowautoiopsincreaseonmodify", "true"),
            ("throughput", "150"),
            ("tagSpecification_1", "a=b"),
            ("tagDeletion_1", "c"),
        ])
        .unwrap();
        assert_eq!(mutable.volume_type.as_deref(), Some("io2"));
        assert_eq!((mutable.iops_per_gib, mutable.throughput), (Some(10), Some(150)));
        assert_eq!(mutable.raise_iops_on_modify, Some(true));
        assert!(mutable.tags.contains_key("a") && mutable.deleted_tags.contains("c"));
    }

    #[test]
    fn tags_may_be_made_of_the_claims_names() {
        let mutable = parse(&[
            ("csi.storage.k8s.io/pvc/name", "data"),
            ("tagSpecification", "of={{ .PVCName | toUpper }}"),
        ]);
        assert_eq!(mutable.unwrap().tags["of"], "DATA");
    }

    #[test]
    fn the_older_name_of_the_type_counts_alone() {
        assert_eq!(parse(&[("volumeType", "gp3")]).unwrap().volume_type.as_deref(), Some("gp3"));
    }

    #[test_case(&[("encrypted", "true")], "encrypted"; "immutable")]
    #[test_case(&[("iops", "x")], "iops"; "bad number")]
    #[test_case(&[("allowautoiopsincreaseonmodify", "x")], "allowautoiopsincreaseonmodify"; "bad flag")]
    #[test_case(&[("tagDeletion_1", "CSIVolumeName")], "tagDeletion_1"; "reserved tag")]
    #[test_case(&[("tagSpecification", "CSIVolumeName=x")], "tagSpecification"; "reserved tag added")]
    #[test_case(&[("tagSpecification", "a=x"), ("tagDeletion", "a")], "tagDeletion"; "tag both ways")]
    #[test_case(&[("iops", "1"), ("iopspergb", "1")], "iopsPerGB"; "both kinds of iops")]
    fn is_refused_by_name(pairs: &[(&str, &str)], field: &str) {
        assert_eq!(parse(pairs).unwrap_err().field, field);
    }
}
