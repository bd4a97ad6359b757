//! Parameters of a `VolumeSnapshotClass`.

use std::collections::BTreeMap;

use super::template::SNAPSHOT_VARIABLES;
use super::{Given, InvalidTags, Match, Parameter, tags};
use crate::ebs::Tags;
use crate::rpc_error::Invalid;

/// What a `VolumeSnapshotClass` asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotParameters {
    /// Tags that the user adds.
    pub tags: Tags,
    /// Name of the `VolumeSnapshot`.
    pub snapshot_name: Option<String>,
    /// Namespace of the `VolumeSnapshot`.
    pub snapshot_namespace: Option<String>,
    /// Name of the `VolumeSnapshotContent`.
    pub content_name: Option<String>,
}

/// A `VolumeSnapshotClass`'s parameters.
pub static SNAPSHOT: &[Parameter<SnapshotParameters>] = &[
    Parameter {
        key: "tagSpecification",
        matching: Match::Prefix,
        accepts: "key=template",
        default: "",
        meaning: "Adds a tag.",
        apply: |snapshot, given| {
            let values = [
                snapshot.snapshot_name.as_deref(),
                snapshot.snapshot_namespace.as_deref(),
                snapshot.content_name.as_deref(),
            ];
            tags::add(&mut snapshot.tags, given, SNAPSHOT_VARIABLES, values)
        },
    },
    metadata(
        "csi.storage.k8s.io/volumesnapshot/name",
        "Variable .VolumeSnapshotName of templates.",
        |snapshot, given| {
            snapshot.snapshot_name = given.text();
            Ok(())
        },
    ),
    metadata(
        "csi.storage.k8s.io/volumesnapshot/namespace",
        "Variable .VolumeSnapshotNamespace of templates.",
        |snapshot, given| {
            snapshot.snapshot_namespace = given.text();
            Ok(())
        },
    ),
    metadata(
        "csi.storage.k8s.io/volumesnapshotcontent/name",
        "Variable .VolumeSnapshotContentName of templates.",
        |snapshot, given| {
            snapshot.content_name = given.text();
            Ok(())
        },
    ),
];

const fn metadata(
    key: &'static str,
    meaning: &'static str,
    apply: fn(&mut SnapshotParameters, &Given<'_>) -> Result<(), Invalid>,
) -> Parameter<SnapshotParameters> {
    let accepts = "set by the snapshotter";
    Parameter { key, matching: Match::AnyCase, accepts, default: "", meaning, apply }
}

impl SnapshotParameters {
    /// Reads a `VolumeSnapshotClass`'s parameters.
    ///
    /// # Errors
    /// The first parameter that is unknown or breaks its rule, by name.
    pub fn parse(
        parameters: &BTreeMap<String, String>,
        invalid_tags: InvalidTags,
    ) -> Result<Self, Invalid> {
        super::parse(SNAPSHOT, Self::default(), parameters, invalid_tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<SnapshotParameters, Invalid> {
        let map = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        SnapshotParameters::parse(&map, InvalidTags::Refuse)
    }

    #[test]
    fn tags_are_read_and_may_be_made_of_the_snapshots_names() {
        let parsed = parse(&[
            ("csi.storage.k8s.io/volumesnapshot/name", "daily"),
            ("csi.storage.k8s.io/volumesnapshot/namespace", "shop"),
            ("csi.storage.k8s.io/volumesnapshotcontent/name", "content-1"),
            ("tagSpecification_1", "a=b"),
            ("tagSpecification_2", "c={{ .VolumeSnapshotNamespace }}/{{ .VolumeSnapshotName }}"),
            ("tagSpecification_3", "d={{ .VolumeSnapshotContentName }}"),
        ]);
        let tags = parsed.unwrap().tags;
        assert_eq!((&*tags["a"], &*tags["c"], &*tags["d"]), ("b", "shop/daily", "content-1"));
    }

    #[test]
    fn unknown_keys_and_a_volumes_variables_are_refused_by_name() {
        assert_eq!(parse(&[("colour", "x")]).unwrap_err().field, "colour");
        let error = parse(&[("tagSpecification_1", "a={{ .PVCName }}")]).unwrap_err();
        assert!(error.rule.contains(".PVCName is not known"), "{error}");
    }
}
