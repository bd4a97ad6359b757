//! Tags that users ask for, `key=value`.

use crate::ebs::{MANAGED_TAG, SNAPSHOT_NAME_TAG, Tags, VOLUME_NAME_TAG};
use crate::rpc_error::Invalid;

/// Tag with the cluster's name, on which IAM policies of one cluster depend.
pub const CLUSTER_NAME_TAG: &str = "ebs.csi.aws.com/cluster-name";

const RESERVED_KEYS: [&str; 4] =
    [VOLUME_NAME_TAG, SNAPSHOT_NAME_TAG, CLUSTER_NAME_TAG, MANAGED_TAG];
const RESERVED_PREFIXES: [&str; 3] = ["kubernetes.io", "ebs.csi.aws.com/", "aws:"];

/// Reads a tag, `key=value`, split at the first `=`; `field` names its origin in errors.
///
/// # Errors
/// No `=`, a reserved or malformed key, a value that EC2 refuses, or a template.
pub fn parse_tag(field: &str, text: &str) -> Result<(String, String), Invalid> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(Invalid::new(field, format!("must have the form key=value, got {text:?}")));
    };
    check_key(field, key)?;
    if value.contains("{{") {
        return Err(Invalid::new(
            field,
            format!("tag {key:?}: templates are not supported, got {value:?}"),
        ));
    }
    if value.chars().count() > 256 {
        return Err(Invalid::new(
            field,
            format!("tag {key:?}: a value has at most 256 characters"),
        ));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Checks the key of a tag that a user adds or deletes. Limits: EC2 user guide, "Tag
/// restrictions".
///
/// # Errors
/// A reserved or malformed key.
pub fn check_key(field: &str, key: &str) -> Result<(), Invalid> {
    let reserved = RESERVED_KEYS.contains(&key)
        || RESERVED_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
    if reserved {
        return Err(Invalid::new(field, format!("tag key {key:?} is reserved")));
    }
    if key.is_empty() || key.chars().count() > 128 {
        return Err(Invalid::new(field, format!("a tag key has 1 to 128 characters, got {key:?}")));
    }
    Ok(())
}

/// Reads `--extra-tags`: `key=value,key=value`.
///
/// # Errors
/// As [`parse_tag`] for each.
pub fn parse_list(field: &str, text: &str) -> Result<Tags, Invalid> {
    text.split(',').filter(|tag| !tag.is_empty()).map(|tag| parse_tag(field, tag)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("team=storage", "team", "storage"; "plain")]
    #[test_case("expr=a=b", "expr", "a=b"; "split at the first equals sign")]
    #[test_case("empty=", "empty", ""; "an empty value")]
    fn a_tag_is_accepted(text: &str, key: &str, value: &str) {
        assert_eq!(parse_tag("t", text).unwrap(), (key.to_owned(), value.to_owned()));
    }

    #[test_case("noequals", "key=value"; "no equals sign")]
    #[test_case("=x", "1 to 128"; "an empty key")]
    #[test_case("CSIVolumeName=x", "reserved"; "the name tag")]
    #[test_case("kubernetes.io/x=y", "reserved"; "a reserved prefix")]
    #[test_case("ebs.csi.aws.com/cluster=true", "reserved"; "the managed tag")]
    #[test_case("aws:x=y", "reserved"; "a prefix of AWS itself")]
    #[test_case("a={{ .PVCName }}", "templates"; "a template")]
    fn a_tag_is_refused(text: &str, rule: &str) {
        let error = parse_tag("tagSpecification_1", text).unwrap_err();
        assert_eq!(error.field, "tagSpecification_1");
        assert!(error.rule.contains(rule), "{error}");
    }
}
