//! Tags of access points that the operator adds: `--tags`.
//!
//! ```text
//! key:value other\ key:value\:with\ colon lone-key
//! ```

use std::iter::Peekable;
use std::str::Chars;

use tracing::warn;

use super::Tags;
use crate::rpc_error::Invalid;

/// Beginnings of keys that are the driver's or AWS's own.
const RESERVED: [&str; 2] = ["efs.csi.aws.com/", "aws:"];

/// Reads `--tags`: pairs `key:value` between blanks, in which a backslash takes the meaning of a
/// blank, a colon and a backslash; a lone key has an empty value. A pair with more colons is left
/// out with a line in the log, as it always was.
///
/// # Errors
/// A key that is reserved or empty, a key or value that EFS does not take.
pub fn parse_tags(field: &str, text: &str) -> Result<Tags, Invalid> {
    let mut tags = Tags::new();
    let mut chars = text.chars().peekable();
    while let Some(fields) = next_pair(&mut chars) {
        let (key, value) = match <[String; 2]>::try_from(fields) {
            Ok([key, value]) => (key, value),
            Err(mut fields) if fields.len() == 1 => (fields.remove(0), String::new()),
            Err(fields) => {
                let tag = fields.join(":");
                warn!(tag, "a tag with more than one colon is left out; write \\: for a colon");
                continue;
            }
        };
        check(field, &key, &value)?;
        tags.insert(key, value);
    }
    Ok(tags)
}

/// The next pair, as the texts between its colons.
fn next_pair(chars: &mut Peekable<Chars<'_>>) -> Option<Vec<String>> {
    while chars.next_if_eq(&' ').is_some() {}
    chars.peek()?;
    let mut fields = vec![String::new()];
    while let Some(char) = chars.next() {
        let char = match char {
            ' ' => break,
            ':' => {
                fields.push(String::new());
                continue;
            }
            '\\' => chars.next().unwrap_or('\\'),
            other => other,
        };
        if let Some(field) = fields.last_mut() {
            field.push(char);
        }
    }
    Some(fields)
}

/// Limits: EFS API reference, `Tag`.
fn check(field: &str, key: &str, value: &str) -> Result<(), Invalid> {
    if RESERVED.iter().any(|prefix| key.starts_with(prefix)) {
        return Err(Invalid::new(field, format!("tag key {key:?} is reserved")));
    }
    if key.is_empty() || key.chars().count() > 128 || !is_tag_text(key) {
        let rule = "a tag key has 1 to 128 letters, digits, blanks and _.:/=+-@";
        return Err(Invalid::new(field, format!("{rule}, got {key:?}")));
    }
    if !is_tag_value(value) {
        let rule = "a tag value has at most 256 letters, digits, blanks and _.:/=+-@";
        return Err(Invalid::new(field, format!("{rule}, got {value:?}")));
    }
    Ok(())
}

/// Whether EFS takes the text as a tag's value.
#[must_use]
pub fn is_tag_value(text: &str) -> bool {
    text.chars().count() <= 256 && is_tag_text(text)
}

fn is_tag_text(text: &str) -> bool {
    text.chars().all(|char| char.is_alphanumeric() || " _.:/=+-@".contains(char))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use test_case::test_case;

    #[test_case("", &[]; "none")]
    #[test_case("a:b", &[("a", "b")]; "one")]
    #[test_case("a:b  team:storage ", &[("a", "b"), ("team", "storage")]; "two")]
    #[test_case("lone", &[("lone", "")]; "a lone key")]
    #[test_case(r"a\ b:c\:d\\", &[("a b", r"c:d\")]; "escapes" )]
    #[test_case("a:b:c x:y", &[("x", "y")]; "more than one colon")]
    fn tags_are_read(text: &str, want: &[(&str, &str)]) {
        let want: Tags = want.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let read = parse_tags("--tags", text);
        if text.contains(r"\\") {
            // EFS takes no backslash; that it is read as one shows in the message.
            assert!(read.unwrap_err().rule.contains(r"c:d\\"));
        } else {
            assert_eq!(read.unwrap(), want);
        }
    }

    #[test_case("efs.csi.aws.com/cluster:false"; "the managed tag")]
    #[test_case("aws:x"; "a prefix of AWS")]
    #[test_case(":x"; "an empty key")]
    #[test_case("a:b*"; "a character that EFS refuses")]
    fn tags_are_refused(text: &str) {
        // "aws:x" is the pair of aws and x.
        if text == "aws:x" {
            assert!(parse_tags("--tags", r"aws\:x").is_err());
        } else {
            assert_eq!(parse_tags("--tags", text).unwrap_err().field, "--tags");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a: \\\\]{0,30}|.*") {
            let _ = parse_tags("--tags", &text);
        }
    }
}
