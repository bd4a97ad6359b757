//! Tags that users ask for, `key=value`, whose value may be a template.

use tracing::warn;

use super::Given;
use super::template::{Names, Template, TemplateError, VOLUME_VARIABLES, Values};
use crate::ebs::{MANAGED_TAG, SNAPSHOT_NAME_TAG, Tags, VOLUME_NAME_TAG};
use crate::rpc_error::Invalid;

/// Tag with the cluster's name, on which IAM policies of one cluster depend.
pub const CLUSTER_NAME_TAG: &str = "ebs.csi.aws.com/cluster-name";

/// Keys that are the driver's own.
pub(super) const RESERVED_KEYS: [&str; 4] =
    [VOLUME_NAME_TAG, SNAPSHOT_NAME_TAG, CLUSTER_NAME_TAG, MANAGED_TAG];
/// Beginnings of keys that are the driver's, Kubernetes' or AWS's own.
pub(super) const RESERVED_PREFIXES: [&str; 3] = ["kubernetes.io", "ebs.csi.aws.com/", "aws:"];

/// What becomes of a tag that is reserved, malformed or a template that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InvalidTags {
    /// The request is refused.
    #[default]
    Refuse,
    /// The tag is left out, with a line in the log.
    Skip,
}

impl InvalidTags {
    /// `tag`, or nothing if it is to be skipped.
    ///
    /// # Errors
    /// The tag's, if it is to be refused.
    pub fn judge<T>(self, tag: Result<T, Invalid>) -> Result<Option<T>, Invalid> {
        match (tag, self) {
            (Ok(tag), _) => Ok(Some(tag)),
            (Err(invalid), Self::Refuse) => Err(invalid),
            (Err(invalid), Self::Skip) => {
                warn!(%invalid, "a tag is left out");
                Ok(None)
            }
        }
    }
}

/// Splits a tag, `key=value`, at the first `=`; `field` names its origin in errors.
fn split<'a>(field: &str, text: &'a str) -> Result<(&'a str, &'a str), Invalid> {
    text.split_once('=')
        .ok_or_else(|| Invalid::new(field, format!("must have the form key=value, got {text:?}")))
}

/// Adds the tag of a parameter.
pub(crate) fn add(
    tags: &mut Tags,
    given: &Given<'_>,
    names: Names,
    values: Values<'_>,
) -> Result<(), Invalid> {
    let (key, value) = split(given.key, given.value)?;
    let tag = check_key(given.key, key).and_then(|()| render(given.key, key, value, names, values));
    if let Some(value) = given.invalid_tags.judge(tag)? {
        tags.insert(key.to_owned(), value);
    }
    Ok(())
}

/// The value of a volume's tag from its template; `field` names its origin in errors.
///
/// # Errors
/// A template that fails, or a result that EC2 refuses.
pub fn render_for_volume(
    field: &str,
    key: &str,
    template: &str,
    values: Values<'_>,
) -> Result<String, Invalid> {
    render(field, key, template, VOLUME_VARIABLES, values)
}

fn render(
    field: &str,
    key: &str,
    template: &str,
    names: Names,
    values: Values<'_>,
) -> Result<String, Invalid> {
    let rendered = Template::parse(template, names).and_then(|parsed| parsed.render(values));
    let value = rendered.map_err(|error| bad_template(field, key, &error))?;
    check_value(field, key, &value)?;
    Ok(value)
}

fn bad_template(field: &str, key: &str, error: &TemplateError) -> Invalid {
    Invalid::new(field, format!("tag {key:?}: {error}"))
}

fn check_value(field: &str, key: &str, value: &str) -> Result<(), Invalid> {
    if value.chars().count() > 256 {
        let rule = format!("tag {key:?}: a value has at most 256 characters, got {value:?}");
        return Err(Invalid::new(field, rule));
    }
    Ok(())
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

/// Reads `--extra-tags`: `key=value,key=value`. The values stay the templates that they are.
///
/// # Errors
/// No `=`, and unless such tags are skipped: a reserved or malformed key, a template that is none
/// for a volume, a value that EC2 refuses.
pub fn parse_list(field: &str, text: &str, invalid: InvalidTags) -> Result<Tags, Invalid> {
    let mut tags = Tags::new();
    for tag in text.split(',').filter(|tag| !tag.is_empty()) {
        let (key, value) = split(field, tag)?;
        if invalid.judge(check(field, key, value))?.is_some() {
            tags.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(tags)
}

fn check(field: &str, key: &str, value: &str) -> Result<(), Invalid> {
    check_key(field, key)?;
    check_value(field, key, value)?;
    let template = Template::parse(value, VOLUME_VARIABLES);
    template.map_err(|error| bad_template(field, key, &error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn read(text: &str, invalid_tags: InvalidTags) -> Result<Tags, Invalid> {
        let given = Given { key: "tagSpecification_1", value: text, invalid_tags };
        let mut tags = Tags::new();
        add(&mut tags, &given, VOLUME_VARIABLES, [Some("data"), Some("shop"), None])?;
        Ok(tags)
    }

    fn one(key: &str, value: &str) -> Tags {
        Tags::from([(key.to_owned(), value.to_owned())])
    }

    #[test_case("team=storage", "team", "storage"; "plain")]
    #[test_case("expr=a=b", "expr", "a=b"; "split at the first equals sign")]
    #[test_case("empty=", "empty", ""; "an empty value")]
    #[test_case("of={{ .PVCNamespace }}/{{ .PVCName }}", "of", "shop/data"; "a template")]
    fn a_tag_is_accepted(text: &str, key: &str, value: &str) {
        assert_eq!(read(text, InvalidTags::Refuse), Ok(one(key, value)));
    }

    #[test_case("=x", "1 to 128"; "an empty key")]
    #[test_case("CSIVolumeName=x", "reserved"; "the name tag")]
    #[test_case("kubernetes.io/x=y", "reserved"; "a reserved prefix")]
    #[test_case("ebs.csi.aws.com/cluster=true", "reserved"; "the managed tag")]
    #[test_case("aws:x=y", "reserved"; "a prefix of AWS itself")]
    #[test_case("a={{ .Nobody }}", ".Nobody is not known"; "a bad template")]
    #[test_case("a={{ field \"-\" 9 .PVCName }}", "there is no 9"; "a template that fails")]
    fn a_tag_is_refused_or_skipped(text: &str, rule: &str) {
        let error = read(text, InvalidTags::Refuse).unwrap_err();
        assert_eq!(error.field, "tagSpecification_1");
        assert!(error.rule.contains(rule), "{error}");
        assert_eq!(read(text, InvalidTags::Skip), Ok(Tags::new()));
    }

    #[test]
    fn what_is_no_tag_at_all_is_never_skipped() {
        for invalid in [InvalidTags::Refuse, InvalidTags::Skip] {
            let error = read("noequals", invalid).unwrap_err();
            assert!(error.rule.contains("key=value"), "{error}");
        }
    }

    #[test]
    fn the_rendered_value_has_a_limit() {
        let long = format!("a={}", "x".repeat(257));
        assert!(read(&long, InvalidTags::Refuse).unwrap_err().rule.contains("256"));
        let template = format!("a={{{{/* {} */}}}}short", "x".repeat(300));
        assert_eq!(read(&template, InvalidTags::Refuse), Ok(one("a", "short")));
    }

    #[test]
    fn a_list_keeps_templates_and_checks_them() {
        let list = |text, invalid| parse_list("--extra-tags", text, invalid);
        let text = "a={{ .PVName }},b=2,";
        let want = Tags::from([("a".into(), "{{ .PVName }}".into()), ("b".into(), "2".into())]);
        assert_eq!(list(text, InvalidTags::Refuse), Ok(want));
        for bad in ["a={{ .PVNam }}", "kubernetes.io/a=b"] {
            assert_eq!(list(bad, InvalidTags::Refuse).unwrap_err().field, "--extra-tags");
            assert_eq!(list(bad, InvalidTags::Skip), Ok(Tags::new()));
        }
    }
}
