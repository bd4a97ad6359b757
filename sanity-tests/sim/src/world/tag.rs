//! Tags. Source: EC2 user guide, "Tag restrictions".

use csi_core::ebs::Tags;

use super::error::AwsError;
use super::{Millis, World, id};

const MOST: usize = 50;

pub(crate) fn check(tags: &Tags) -> Result<(), AwsError> {
    for (key, value) in tags {
        if key.is_empty() {
            return Err(AwsError::value("Tag key cannot be empty."));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(AwsError::value(format!(
                "Value ({key}) for parameter key is invalid. Tag keys starting with 'aws:' are \
                 reserved for internal use"
            )));
        }
        if key.chars().count() > 128 {
            return Err(AwsError::value("Tag key exceeds the maximum length of 128 characters"));
        }
        if value.chars().count() > 256 {
            return Err(AwsError::value("Tag value exceeds the maximum length of 256 characters"));
        }
    }
    check_count(tags)
}

fn check_count(tags: &Tags) -> Result<(), AwsError> {
    if tags.len() > MOST {
        return Err(AwsError::new("TagLimitExceeded", "More than 50 tags specified"));
    }
    Ok(())
}

impl World {
    /// `CreateTags`.
    pub fn create_tags(
        &mut self,
        resources: &[String],
        tags: &Tags,
        now: Millis,
    ) -> Result<(), AwsError> {
        self.advance(now);
        if tags.is_empty() {
            return Err(AwsError::missing("Tags"));
        }
        check(tags)?;
        self.retag(resources, now, &|old| {
            old.extend(tags.clone());
            check_count(old)
        })
    }

    /// `DeleteTags`: a key without a value is removed whatever its value; one with a value only
    /// if it has that value. No keys at all means all tags.
    pub fn delete_tags(
        &mut self,
        resources: &[String],
        keys: &[(String, Option<String>)],
        now: Millis,
    ) -> Result<(), AwsError> {
        self.advance(now);
        self.retag(resources, now, &|old| {
            old.retain(|key, value| {
                !keys.is_empty()
                    && !keys.iter().any(|(gone, only)| {
                        gone == key && only.as_ref().is_none_or(|only| only == value)
                    })
            });
            Ok(())
        })
    }

    /// Changes the tags of all resources or of none.
    fn retag(
        &mut self,
        resources: &[String],
        now: Millis,
        change: &dyn Fn(&mut Tags) -> Result<(), AwsError>,
    ) -> Result<(), AwsError> {
        let mut changed = Vec::new();
        for resource in resources {
            let mut tags = self.tags_of(resource)?.clone();
            change(&mut tags)?;
            changed.push((resource, tags));
        }
        let lag = self.lag();
        for (resource, tags) in changed {
            self.set_tags(resource, tags, now, lag);
        }
        Ok(())
    }

    fn tags_of(&self, resource: &str) -> Result<&Tags, AwsError> {
        if resource.starts_with("snap-") {
            return Ok(&self.live_snapshot(resource)?.1.record.truth().snapshot.tags);
        }
        if resource.starts_with("i-") {
            let id = id::instance(resource)?;
            let found = self.instances.get(&id).ok_or_else(|| AwsError::no_instance(resource))?;
            return Ok(&found.tags);
        }
        if resource.starts_with("vol-") {
            return Ok(&self.live_volume(resource)?.1.record.truth().volume.tags);
        }
        Err(AwsError::new("InvalidID", format!("The ID '{resource}' is not valid")))
    }

    fn set_tags(&mut self, resource: &str, tags: Tags, now: Millis, lag: Millis) {
        if let Ok(id) = resource.parse()
            && let Some(entry) = self.volumes.get_mut(&id)
        {
            entry.record.write(now, lag, |record| record.volume.tags = tags);
        } else if let Ok(id) = resource.parse()
            && let Some(entry) = self.snapshots.get_mut(&id)
        {
            entry.record.write(now, lag, |record| record.snapshot.tags = tags);
        } else if let Ok(id) = resource.parse()
            && let Some(instance) = self.instances.get_mut(&id)
        {
            instance.tags = tags;
        }
    }
}
