//! Parameters of a `VolumeSnapshotClass`.

use std::collections::BTreeMap;

use super::{Match, Parameter, tags};
use crate::ebs::Tags;
use crate::rpc_error::Invalid;

/// What a `VolumeSnapshotClass` asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotParameters {
    /// Tags that the user adds.
    pub tags: Tags,
}

/// A `VolumeSnapshotClass`'s parameters.
pub static SNAPSHOT: &[Parameter<SnapshotParameters>] = &[
    Parameter {
        key: "tagSpecification",
        matching: Match::Prefix,
        accepts: "key=value",
        default: "",
        meaning: "Adds a tag.",
        apply: |snapshot, given| {
            let (key, value) = tags::parse_tag(given.key, given.value)?;
            snapshot.tags.insert(key, value);
            Ok(())
        },
    },
    metadata("csi.storage.k8s.io/volumesnapshot/name"),
    metadata("csi.storage.k8s.io/volumesnapshot/namespace"),
    metadata("csi.storage.k8s.io/volumesnapshotcontent/name"),
];

const fn metadata(key: &'static str) -> Parameter<SnapshotParameters> {
    Parameter {
        key,
        matching: Match::AnyCase,
        accepts: "set by the snapshotter",
        default: "",
        meaning: "Not used.",
        apply: |_snapshot, _given| Ok(()),
    }
}

impl SnapshotParameters {
    /// Reads a `VolumeSnapshotClass`'s parameters.
    ///
    /// # Errors
    /// The first parameter that is unknown or breaks its rule, by name.
    pub fn parse(parameters: &BTreeMap<String, String>) -> Result<Self, Invalid> {
        super::parse(SNAPSHOT, parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_and_unknown_keys_are_refused_by_name() {
        let map = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let parsed = SnapshotParameters::parse(&map("tagSpecification_1", "a=b")).unwrap();
        assert_eq!(parsed.tags["a"], "b");
        SnapshotParameters::parse(&map("csi.storage.k8s.io/volumesnapshot/name", "x")).unwrap();
        let error = SnapshotParameters::parse(&map("lockMode", "x")).unwrap_err();
        assert_eq!(error.field, "lockMode");
    }
}
