//! Parameters of a `VolumeSnapshotClass`.

mod lock;

use std::collections::BTreeMap;

use super::template::SNAPSHOT_VARIABLES;
use super::{Given, InvalidTags, Match, Parameter, tags};
use crate::ebs::{SnapshotLock, Tags};
use crate::rpc_error::Invalid;
use crate::topology::Zone;

/// What a `VolumeSnapshotClass` asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotParameters {
    /// Tags that the user adds.
    pub tags: Tags,
    /// Zones in which volumes made from the snapshot are fast at once.
    pub fast_restore_zones: Vec<Zone>,
    /// How the snapshot is locked.
    pub lock: Option<SnapshotLock>,
    lock_wish: lock::Wish,
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
        key: "fastSnapshotRestoreAvailabilityZones",
        matching: Match::AnyCase,
        accepts: "names of zones, separated by commas",
        default: "none",
        meaning: "Enables fast snapshot restore in these zones of the region, which costs money by the hour.",
        apply: |snapshot, given| {
            snapshot.fast_restore_zones = zones(given)?;
            Ok(())
        },
    },
    Parameter {
        key: lock::MODE,
        matching: Match::AnyCase,
        accepts: "governance or compliance",
        default: "not locked",
        meaning: "Locks the snapshot, so that it cannot be deleted. Needs lockDuration or lockExpirationDate.",
        apply: |snapshot, given| {
            snapshot.lock_wish.mode = Some(lock::mode(given)?);
            Ok(())
        },
    },
    Parameter {
        key: lock::DURATION,
        matching: Match::AnyCase,
        accepts: "a whole number of days, 1 to 36500",
        default: "not set",
        meaning: "How long the lock lasts.",
        apply: |snapshot, given| {
            snapshot.lock_wish.days = Some(lock::days(given)?);
            Ok(())
        },
    },
    Parameter {
        key: lock::EXPIRATION,
        matching: Match::AnyCase,
        accepts: "a time as 2030-01-31T00:00:00Z (RFC 3339)",
        default: "not set",
        meaning: "When the lock ends. Not together with lockDuration.",
        apply: |snapshot, given| {
            snapshot.lock_wish.expires = Some(lock::date(given)?);
            Ok(())
        },
    },
    Parameter {
        key: lock::COOL_OFF,
        matching: Match::AnyCase,
        accepts: "a whole number of hours, 1 to 72",
        default: "not set",
        meaning: "How long a lock in compliance mode can still be changed.",
        apply: |snapshot, given| {
            snapshot.lock_wish.cool_off = Some(lock::hours(given)?);
            Ok(())
        },
    },
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

/// Zones in the order in which they are given, each once.
fn zones(given: &Given<'_>) -> Result<Vec<Zone>, Invalid> {
    let mut zones = Vec::new();
    for name in given.value.split(',').map(str::trim) {
        if name.is_empty() || name.contains(char::is_whitespace) {
            let rule = "must be names of zones separated by commas";
            return given.refuse(format!("{rule}, got {:?}", given.value));
        }
        let zone = Zone(name.to_owned());
        if !zones.contains(&zone) {
            zones.push(zone);
        }
    }
    Ok(zones)
}

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
        let parsed = super::parse(SNAPSHOT, Self::default(), parameters, invalid_tags)?;
        let lock = parsed.lock_wish.lock()?;
        Ok(Self { lock, ..parsed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ebs::{LockEnd, LockMode};

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
    fn a_lock_is_whole_or_refused_by_name() {
        let lock =
            parse(&[("lockMode", "compliance"), ("lockDuration", "7"), ("lockCoolOffPeriod", "3")]);
        let whole = SnapshotLock {
            mode: LockMode::Compliance,
            end: LockEnd::AfterDays(7),
            cool_off_hours: Some(3),
        };
        assert_eq!(lock.unwrap().lock, Some(whole));
        assert_eq!(parse(&[]).unwrap().lock, None);
        let date = ("lockExpirationDate", "2030-01-31T00:00:00Z");
        let days = ("lockDuration", "7");
        let governance = ("lockMode", "governance");
        let cool_off = ("lockCoolOffPeriod", "3");
        let field = |pairs: &[(&str, &str)]| parse(pairs).unwrap_err().field;
        assert_eq!(field(&[governance]), "lockMode");
        assert_eq!(field(&[days]), "lockDuration");
        assert_eq!(field(&[date]), "lockExpirationDate");
        assert_eq!(field(&[cool_off]), "lockCoolOffPeriod");
        assert_eq!(field(&[governance, days, date]), "lockExpirationDate");
        assert_eq!(field(&[governance, days, cool_off]), "lockCoolOffPeriod");
    }

    #[test]
    fn unknown_keys_and_a_volumes_variables_are_refused_by_name() {
        assert_eq!(parse(&[("colour", "x")]).unwrap_err().field, "colour");
        let error = parse(&[("tagSpecification_1", "a={{ .PVCName }}")]).unwrap_err();
        assert!(error.rule.contains(".PVCName is not known"), "{error}");
    }
}
