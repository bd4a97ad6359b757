//! Parts of requests: filters, tags, numbers.

use aws_sdk_ec2::types::{Filter, ResourceType, Tag, TagSpecification};
use csi_core::ebs::Tags;
use csi_core::facts::FILTER_VALUES;

/// Filters on `name` with at most 200 values each, which is how many EC2 takes. No values make no
/// filter: a Describe without one would list everything.
pub(super) fn filters<T: ToString>(name: &str, values: &[T]) -> impl Iterator<Item = Filter> {
    values.chunks(FILTER_VALUES).map(move |values| {
        let values = values.iter().map(|value| literal(&value.to_string())).collect();
        Filter::builder().name(name).set_values(Some(values)).build()
    })
}

/// A filter value that matches only itself: `*` and `?` are wildcards, `\` takes that away
/// (EC2 user guide, "Filter your resources using wildcards").
fn literal(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for char in value.chars() {
        if matches!(char, '*' | '?' | '\\') {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}

/// The name of the filter on the tag `key`.
pub(super) fn tag_filter(key: &str) -> String {
    format!("tag:{key}")
}

/// Tags in the order of their keys, so that equal calls are equal to the byte.
pub(super) fn sdk_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// Tags of what a call makes; `None` without any, since an empty specification is an error.
pub(super) fn tags_of(kind: ResourceType, tags: &Tags) -> Option<Vec<TagSpecification>> {
    let tags = (!tags.is_empty()).then(|| sdk_tags(tags))?;
    Some(vec![TagSpecification::builder().resource_type(kind).set_tags(Some(tags)).build()])
}

/// The SDK's integers are signed. What is beyond them EC2 refuses as it refuses their maximum.
pub(super) fn int(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_split_at_200_and_wildcards_lose_their_meaning() {
        let ids: Vec<u32> = (0..401).collect();
        let sizes: Vec<usize> = filters("volume-id", &ids).map(|f| f.values().len()).collect();
        assert_eq!(sizes, [200, 200, 1]);
        assert_eq!(filters::<u32>("volume-id", &[]).count(), 0);
        let odd = filters("tag:CSIVolumeName", &["a*b?c\\d"]).next().unwrap();
        assert_eq!(odd.values(), ["a\\*b\\?c\\\\d"]);
    }
}
