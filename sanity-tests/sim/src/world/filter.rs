//! Filters of Describe calls. Source: EC2 user guide, "List and filter your resources".

use std::collections::HashSet;

use csi_core::ebs::Tags;
use csi_core::facts;

use super::call::Filter;
use super::error::AwsError;
use super::modification::ModificationRecord;
use super::name;
use super::snapshot::SnapshotRecord;
use super::volume::VolumeRecord;

/// A row that filters look at: the values that it has for a filter's name; `None` if there is no
/// such filter.
pub(crate) trait Row {
    fn values(&self, filter: &str) -> Option<Vec<String>>;
}

/// Refuses filters that EC2 refuses.
pub(crate) fn check(filters: &[Filter], known: &[&str]) -> Result<(), AwsError> {
    for filter in filters {
        let name = filter.name.as_str();
        if !known.contains(&name) && !name.starts_with("tag:") {
            return Err(AwsError::value(format!("The filter '{name}' is invalid")));
        }
        if filter.values.is_empty() {
            return Err(AwsError::value(format!("The filter '{name}' has no values")));
        }
        if filter.values.len() > facts::FILTER_VALUES {
            return Err(AwsError::new(
                "FilterLimitExceeded",
                "The maximum number of filter values specified on a single call is 200",
            ));
        }
    }
    Ok(())
}

/// The filters of a call, made ready for many rows.
pub(crate) struct Filters<'a>(Vec<Prepared<'a>>);

struct Prepared<'a> {
    name: &'a str,
    exact: HashSet<&'a str>,
    patterns: Vec<&'a str>,
}

impl<'a> Filters<'a> {
    pub(crate) fn new(filters: &'a [Filter]) -> Self {
        let prepare = |filter: &'a Filter| {
            let is_pattern = |value: &&str| value.contains(['*', '?', '\\']);
            let values = || filter.values.iter().map(String::as_str);
            let exact = values().filter(|value| !is_pattern(value)).collect();
            let patterns = values().filter(is_pattern).collect();
            Prepared { name: &filter.name, exact, patterns }
        };
        Self(filters.iter().map(prepare).collect())
    }

    /// Whether a row passes every filter.
    pub(crate) fn pass(&self, row: &impl Row) -> bool {
        self.0.iter().all(|filter| {
            let values = row.values(filter.name).unwrap_or_default();
            values.iter().any(|value| {
                let fits = |pattern: &&str| fits(pattern.as_bytes(), value.as_bytes());
                filter.exact.contains(value.as_str()) || filter.patterns.iter().any(fits)
            })
        })
    }
}

/// Matches `*` and `?`; a backslash takes the next character as it is.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            fits(rest, text) || text.split_first().is_some_and(|(_, tail)| fits(pattern, tail))
        }
        ([b'?', rest @ ..], [_, tail @ ..]) => fits(rest, tail),
        ([b'\\', literal, rest @ ..] | [literal, rest @ ..], [first, tail @ ..]) => {
            literal == first && fits(rest, tail)
        }
        _ => false,
    }
}

fn tag_values(tags: &Tags, filter: &str) -> Option<Vec<String>> {
    if filter == "tag-key" {
        return Some(tags.keys().cloned().collect());
    }
    let key = filter.strip_prefix("tag:")?;
    Some(tags.get(key).cloned().into_iter().collect())
}

pub(crate) const VOLUME_FILTERS: [&str; 14] = [
    "volume-id",
    "tag-key",
    "status",
    "availability-zone",
    "volume-type",
    "size",
    "snapshot-id",
    "encrypted",
    "multi-attach-enabled",
    "attachment.instance-id",
    "attachment.device",
    "attachment.status",
    "attachment.delete-on-termination",
    "create-time",
];

impl Row for VolumeRecord {
    fn values(&self, filter: &str) -> Option<Vec<String>> {
        let volume = &self.volume;
        let one = |value: &str| Some(vec![value.to_owned()]);
        let attachments = volume.attachments.iter();
        match filter {
            "volume-id" => one(volume.id.as_str()),
            "status" => one(name::volume_state(volume.state)),
            "availability-zone" => one(&volume.zone.0),
            "volume-type" => one(&volume.volume_type),
            "size" => one(&volume.size.0.to_string()),
            "snapshot-id" => Some(volume.snapshot.iter().map(ToString::to_string).collect()),
            "encrypted" => one(&volume.encrypted.to_string()),
            "multi-attach-enabled" => one(&volume.multi_attach.to_string()),
            "attachment.instance-id" => Some(attachments.map(|a| a.instance.to_string()).collect()),
            "attachment.device" => Some(attachments.map(|a| a.device.clone()).collect()),
            "attachment.status" => {
                Some(attachments.map(|a| name::attachment_state(a.state).to_owned()).collect())
            }
            "attachment.delete-on-termination" => {
                Some(attachments.map(|_| self.delete_on_termination.to_string()).collect())
            }
            _ => tag_values(&volume.tags, filter),
        }
    }
}

pub(crate) const SNAPSHOT_FILTERS: [&str; 7] =
    ["snapshot-id", "tag-key", "status", "volume-id", "volume-size", "encrypted", "owner-id"];

impl Row for SnapshotRecord {
    fn values(&self, filter: &str) -> Option<Vec<String>> {
        let snapshot = &self.snapshot;
        let one = |value: &str| Some(vec![value.to_owned()]);
        match filter {
            "snapshot-id" => one(snapshot.id.as_str()),
            "status" => one(name::snapshot_state(snapshot.state)),
            "volume-id" => Some(snapshot.volume.iter().map(ToString::to_string).collect()),
            "volume-size" => one(&snapshot.size.0.to_string()),
            "encrypted" => one(&self.encrypted.to_string()),
            "owner-id" => one("123456789012"),
            _ => tag_values(&snapshot.tags, filter),
        }
    }
}

pub(crate) const MODIFICATION_FILTERS: [&str; 4] =
    ["volume-id", "modification-state", "target-size", "target-volume-type"];

impl Row for ModificationRecord {
    fn values(&self, filter: &str) -> Option<Vec<String>> {
        let shown = &self.modification;
        let one = |value: &str| Some(vec![value.to_owned()]);
        match filter {
            "volume-id" => one(shown.volume.as_str()),
            "modification-state" => one(name::modification_state(shown.state)),
            "target-size" => one(&shown.size.0.to_string()),
            "target-volume-type" => one(&shown.volume_type),
            _ => None,
        }
    }
}

pub(crate) const INSTANCE_FILTERS: [&str; 5] =
    ["instance-id", "tag-key", "instance-type", "instance-state-name", "availability-zone"];

impl Row for super::instance::InstanceRecord {
    fn values(&self, filter: &str) -> Option<Vec<String>> {
        let one = |value: &str| Some(vec![value.to_owned()]);
        match filter {
            "instance-id" => one(self.id.as_str()),
            "instance-type" => one(&self.instance_type),
            "instance-state-name" => one(&self.state),
            "availability-zone" => one(&self.zone),
            _ => tag_values(&self.tags, filter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn wildcards_match_and_a_backslash_takes_them_literally() {
        let fits = |pattern: &str, text: &str| fits(pattern.as_bytes(), text.as_bytes());
        assert!(fits("pvc-*", "pvc-1") && fits("a?c", "abc") && fits("*", ""));
        assert!(!fits("pvc-*", "vc-1") && !fits("a?c", "ac"));
        assert!(fits(r"a\*", "a*") && !fits(r"a\*", "ab"));
    }
}
