//! Mount flags: those that say how the file system is reached ([`Helper`]), which the kernel never
//! sees, and those of the mount itself ([`NfsOptions`]).
//!
//! Every flag is one option, `key` or `key=value`. A flag that could be read as two options is
//! refused, since the second one would have been seen by nobody who checked the first
//! (CVE-2026-6437). Keys are compared without regard to capitals; values are kept as they are:
//! the names of profiles, roles and files have capitals that matter.

use std::collections::BTreeMap;

use csi_core::Invalid;

pub mod helper;
pub mod nfs;

pub use helper::Helper;
pub use nfs::NfsOptions;

/// What a volume's mount flags say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// How the file system is reached.
    pub helper: Helper,
    /// How it is mounted.
    pub nfs: NfsOptions,
}

impl Options {
    /// Reads mount flags.
    ///
    /// # Errors
    /// A flag that is not one option, is not known, has a value that breaks its rule, or contradicts
    /// another one.
    pub fn parse(flags: &[String]) -> Result<Self, Invalid> {
        let mut helper = BTreeMap::new();
        let mut nfs = Vec::new();
        for flag in flags {
            let Some(item) = Item::parse(flag)? else { continue };
            if !helper::KEYS.contains(&item.key.as_str()) {
                nfs.push(item);
            } else if let Some(earlier) = helper.insert(item.key.clone(), item.value)
                && earlier != item.value
            {
                return Err(item.invalid("is given twice, with different values"));
            }
        }
        let items: Vec<Item<'_>> =
            helper.into_iter().map(|(key, value)| Item { key, value }).collect();
        Ok(Self { helper: Helper::parse(&items)?, nfs: NfsOptions::parse(&nfs)? })
    }
}

/// One option.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item<'a> {
    /// In lower case.
    key: String,
    /// As it came.
    value: Option<&'a str>,
}

impl<'a> Item<'a> {
    /// Reads one flag; `None` if it is empty.
    fn parse(flag: &'a str) -> Result<Option<Self>, Invalid> {
        let flag = flag.trim_matches(' ');
        if flag.is_empty() {
            return Ok(None);
        }
        let (key, value) = match flag.split_once('=') {
            None => (flag, None),
            Some((key, value)) => (key, Some(value)),
        };
        let item = Self { key: key.to_ascii_lowercase(), value };
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let is_free = |c: char| c.is_ascii_graphic() && !matches!(c, ',' | '=' | '\\');
        if key.is_empty() || !key.chars().all(is_word) {
            return Err(item.invalid(
                "is no option: write one option per flag, as key or key=value, without commas",
            ));
        }
        match value {
            Some("") => Err(item.invalid("has an empty value")),
            Some(value) if !value.chars().all(is_free) => Err(item.invalid(
                "has a value with a comma, an equals sign, a blank or a control character, behind \
                 which another option could hide",
            )),
            _ => Ok(Some(item)),
        }
    }

    fn invalid(&self, rule: impl Into<String>) -> Invalid {
        // A key may be huge or hostile as long as it is not checked; the message must be neither.
        let key: String = self.key.chars().take(64).collect();
        Invalid::new(format!("mount_flags.{}", key.escape_debug()), rule)
    }

    /// The value of an option that must have one.
    fn text(&self) -> Result<&'a str, Invalid> {
        self.value.ok_or_else(|| self.invalid("must have a value"))
    }

    /// Refuses a value of an option that has none.
    fn bare(&self) -> Result<(), Invalid> {
        match self.value {
            None => Ok(()),
            Some(_) => Err(self.invalid("takes no value")),
        }
    }

    /// The value as a number.
    fn number<N: std::str::FromStr>(&self) -> Result<N, Invalid> {
        let text = self.text()?;
        text.parse().map_err(|_not_one| {
            self.invalid(format!("must be a number in its range, got {text:?}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(flags: &[&str]) -> Result<Options, Invalid> {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Options::parse(&flags)
    }

    #[test]
    fn flags_are_sorted_into_those_for_the_way_and_those_for_the_mount() {
        let options = parse(&["TLS", "iam", "awsProfile=MyProfile", "noatime", "actimeo=7"]);
        let options = options.unwrap();
        assert!(options.helper.iam && options.helper.way == helper::Way::Encrypted);
        assert_eq!(options.helper.profile.as_deref(), Some("MyProfile"));
        assert!(options.nfs.data(1).contains("actimeo=7"));
        assert_eq!(options.nfs.flags, nix::mount::MsFlags::MS_NOATIME);
    }

    #[test]
    fn what_could_hide_a_second_option_is_refused_by_name() {
        for (flag, field) in [
            ("tls,accesspoint=fsap-0123456789abcdef0", "mount_flags.tls,accesspoint"),
            ("awsprofile=a,rolearn=b", "mount_flags.awsprofile"),
            ("awsprofile=a=b", "mount_flags.awsprofile"),
            ("awsprofile=a\nb", "mount_flags.awsprofile"),
            ("awsprofile=a b", "mount_flags.awsprofile"),
            ("awsprofile=a\\054b", "mount_flags.awsprofile"),
            ("awsprofile=", "mount_flags.awsprofile"),
            ("=x", "mount_flags."),
            ("no\natime", "mount_flags.no\\natime"),
            ("rsize=1024,port=1", "mount_flags.rsize"),
        ] {
            assert_eq!(parse(&[flag]).unwrap_err().field, field, "{flag:?}");
        }
    }

    #[test]
    fn the_same_twice_is_once_and_two_values_are_a_conflict() {
        assert!(parse(&["awsprofile=a", "iam", "AWSPROFILE=a"]).is_ok());
        let error = parse(&["iam", "awsprofile=a", "awsprofile=A"]).unwrap_err();
        assert_eq!(error.field, "mount_flags.awsprofile");
    }

    proptest! {
        #[test]
        fn no_flag_panics_and_none_reaches_the_kernel_as_two(
            flags in prop::collection::vec(".*|[a-z]{2,8}=[ -~]{0,9}|(rsize|soft|timeo|context)(=.{0,6})?", 0..6),
        ) {
            if let Ok(options) = Options::parse(&flags) {
                let data = options.nfs.data(20_049);
                prop_assert!(data.bytes().all(|byte| byte.is_ascii_graphic()));
                let ports = data.split(',').filter(|option| option.starts_with("port=")).count();
                prop_assert_eq!(ports, 1);
                // As many options as there can be: each flag once, and the defaults.
                prop_assert!(data.split(',').count() <= flags.len() + 12);
                prop_assert!(data.split(',').all(|option| option.matches('=').count() <= 1));
            }
        }
    }
}
