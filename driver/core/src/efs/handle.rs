//! The volume handle of EFS: which file system, which directory in it, through which access point.
//!
//! ```text
//! efs:fs-0123456789abcdef0[:path[:fsap-0123456789abcdef0]]
//!     fs-0123456789abcdef0[:path[:fsap-0123456789abcdef0]]     as written before version 3
//! ```
//!
//! Users write handles into static PersistentVolumes, and what is in a handle ends in a mount.
//! CVE-2026-6437 was a handle whose comma made a second mount option of its rest, so whatever
//! could be taken for more than a path is refused here, before anything is started.

use std::fmt;
use std::str::FromStr;

use crate::id::{AccessPointId, FileSystemId, InvalidId};

/// Longest path, in bytes: what mount(2) takes.
const PATH_MAX: usize = 4_095;

/// What a volume handle says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeHandle {
    file_system: FileSystemId,
    /// Absolute and clean: no empty, `.` or `..` component, no `/` at the end.
    path: String,
    access_point: Option<AccessPointId>,
}

/// A text that is no volume handle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an EFS volume handle: {rule}")]
pub struct InvalidHandle {
    /// The text, or its beginning.
    pub text: String,
    /// The rule it breaks.
    pub rule: String,
}

impl VolumeHandle {
    /// The handle of a volume that the driver makes.
    #[must_use]
    pub fn of_access_point(file_system: FileSystemId, access_point: AccessPointId) -> Self {
        Self { file_system, path: "/".to_owned(), access_point: Some(access_point) }
    }

    /// The file system.
    #[must_use]
    pub fn file_system(&self) -> &FileSystemId {
        &self.file_system
    }

    /// The directory, from the access point's root if there is one, else the file system's:
    /// absolute and clean, `/` if the handle names none.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The access point, if the handle names one.
    #[must_use]
    pub fn access_point(&self) -> Option<&AccessPointId> {
        self.access_point.as_ref()
    }
}

impl FromStr for VolumeHandle {
    type Err = InvalidHandle;

    fn from_str(text: &str) -> Result<Self, InvalidHandle> {
        let refuse = |rule: &str| InvalidHandle {
            // A handle may be huge; the message must not be.
            text: text.chars().take(128).collect(),
            rule: rule.to_owned(),
        };
        let bad_id = |error: InvalidId| refuse(&format!("{:?}: {}", error.text, error.rule));
        if text.contains([',', '=']) || text.chars().any(char::is_control) {
            return Err(refuse(
                "a comma, an equals sign or a control character is never part of it",
            ));
        }
        let fields: Vec<&str> = match text.split_once(':') {
            Some(("efs", rest)) => rest.split(':').collect(),
            Some(("s3files", _)) => {
                return Err(refuse("it is of S3 Files, which this driver does not serve"));
            }
            _ => text.split(':').collect(),
        };
        let (file_system, path, access_point) = match *fields.as_slice() {
            [file_system] => (file_system, "", ""),
            [file_system, path] => (file_system, path, ""),
            [file_system, path, access_point] => (file_system, path, access_point),
            _ => return Err(refuse("want [efs:]file-system[:path[:access-point]]")),
        };
        let access_point = match access_point {
            "" => None,
            id => Some(id.parse().map_err(bad_id)?),
        };
        if path.len() > PATH_MAX {
            return Err(refuse("the path is longer than 4,095 bytes"));
        }
        Ok(Self {
            file_system: file_system.parse().map_err(bad_id)?,
            path: clean(path),
            access_point,
        })
    }
}

/// The path from `/` without empty, `.` and `..` components.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Writes the form of version 3, whose shortest spelling is the same for equal handles.
impl fmt::Display for VolumeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path == "/" { "" } else { &self.path };
        match (&self.access_point, path) {
            (None, "") => write!(f, "efs:{}", self.file_system),
            (None, path) => write!(f, "efs:{}:{path}", self.file_system),
            (Some(access_point), path) => {
                write!(f, "efs:{}:{path}:{access_point}", self.file_system)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use test_case::test_case;

    const FS: &str = "fs-0123456789abcdef0";
    const AP: &str = "fsap-0fedcba9876543210";

    fn parse(text: &str) -> VolumeHandle {
        text.parse().unwrap()
    }

    #[test_case("fs-92107410", "/", None, "efs:fs-92107410"; "a file system, old form")]
    #[test_case("efs:fs-92107410", "/", None, "efs:fs-92107410"; "a file system, new form")]
    #[test_case("fs-92107410::", "/", None, "efs:fs-92107410"; "trailing empty fields")]
    #[test_case("fs-92107410:/a//b/./c/", "/a/b/c", None, "efs:fs-92107410:/a/b/c"; "a path")]
    #[test_case("fs-92107410:a", "/a", None, "efs:fs-92107410:/a"; "a relative path")]
    #[test_case("efs:fs-92107410:/../../a", "/a", None, "efs:fs-92107410:/a"; "a path above root")]
    #[test_case("fs-92107410::fsap-01234567", "/", Some("fsap-01234567"),
        "efs:fs-92107410::fsap-01234567"; "an access point, old form")]
    #[test_case("efs:fs-92107410:/p:fsap-01234567", "/p", Some("fsap-01234567"),
        "efs:fs-92107410:/p:fsap-01234567"; "an access point, new form, with path")]
    fn a_handle_is_read(text: &str, path: &str, access_point: Option<&str>, written: &str) {
        let handle = parse(text);
        assert_eq!(handle.file_system().as_str(), "fs-92107410");
        assert_eq!(handle.path(), path);
        assert_eq!(handle.access_point().map(AccessPointId::as_str), access_point);
        assert_eq!(handle.to_string(), written);
        assert_eq!(parse(written), handle);
    }

    #[test_case(""; "empty")]
    #[test_case("fs-92107410,tls"; "an option behind the file system")]
    #[test_case("fs-92107410:/a,rolearn=x"; "an option behind the path")]
    #[test_case("efs:fs-92107410::fsap-01234567,awsprofile=root"; "an option behind the access point")]
    #[test_case("fs-92107410:/a=b"; "an equals sign")]
    #[test_case("fs-92107410:/a\nb"; "a new line")]
    #[test_case("fs-92107410:/a\0b"; "a null")]
    #[test_case("fs-92107410:/a:fsap-01234567:x"; "four fields")]
    #[test_case("efs:fs-92107410:::"; "too many empty fields")]
    #[test_case("EFS:fs-92107410"; "a capital type")]
    #[test_case("s3files:fs-92107410"; "S3 Files")]
    #[test_case("fs-9210741G"; "an id that is none")]
    #[test_case("fsap-01234567"; "an access point alone")]
    #[test_case("fs-92107410::fs-92107410"; "a file system for an access point")]
    #[test_case(" fs-92107410"; "a blank")]
    fn what_is_more_or_less_than_a_handle_is_refused(text: &str) {
        let error = text.parse::<VolumeHandle>().unwrap_err();
        assert!(!error.to_string().contains(['\n', '\0']), "the message is one line");
    }

    #[test]
    fn a_huge_handle_is_refused_with_a_short_message() {
        let long = format!("{FS}:/{}", "a".repeat(5_000));
        assert!(long.parse::<VolumeHandle>().unwrap_err().to_string().len() < 300);
    }

    #[test]
    fn a_made_volume_has_the_form_that_the_driver_always_wrote() {
        let made = VolumeHandle::of_access_point(FS.parse().unwrap(), AP.parse().unwrap());
        assert_eq!(made.to_string(), format!("efs:{FS}::{AP}"));
        assert_eq!(parse(&made.to_string()), made);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_survives_writing(text in ".*|(efs:)?fs-[0-9a-f]{8}(:[a./,=]{0,9}(:fsap-[0-9a-f]{8})?)?") {
            if let Ok(handle) = text.parse::<VolumeHandle>() {
                prop_assert!(handle.path().starts_with('/'));
                prop_assert!(!handle.to_string().contains([',', '=', '\n']));
                prop_assert_eq!(handle.to_string().parse::<VolumeHandle>().unwrap(), handle);
            }
        }
    }
}
