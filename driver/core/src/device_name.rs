//! The names under which volumes are attached. EC2 wants a name for each attachment; on NVMe
//! instances the guest never sees it, on Xen it is the kernel's own name.
//!
//! The controller chooses from this list; the node recognises by it which of an instance's
//! mappings are volumes of the driver.

/// How many names [`all`] gives.
pub const COUNT: usize = 127;

/// Every name that may be used, without `/dev/`, in the order of choice.
///
/// The order is that of the driver this one replaces, so that both agree on what is free:
/// `xvdaa`–`xvdaz`, `xvdba`–`xvdbz` (these 52 work everywhere on Xen), `xvdda`–`xvddx` (the `xvdc`
/// series is Windows'), then the one-letter names, which images use for volumes of their own.
pub fn all() -> impl Iterator<Item = String> {
    let series = |prefix: &'static str, letters: std::ops::RangeInclusive<char>| {
        letters.map(move |letter| format!("{prefix}{letter}"))
    };
    series("xvda", 'a'..='z')
        .chain(series("xvdb", 'a'..='z'))
        .chain(series("xvdd", 'a'..='x'))
        .chain(series("xvd", 'b'..='z'))
        .chain(series("sd", 'b'..='z'))
        .chain(std::iter::once("sda2".to_owned()))
}

/// Whether a mapping of this name (without `/dev/`) is one of the driver's.
///
/// Only the two-letter names count: one-letter names come last in [`all`], after 76 volumes, but
/// images map volumes of their own at them (`xvdb` holds the data of Bottlerocket), and a foreign
/// volume taken for an own one would raise the node's limit above what EC2 attaches.
#[must_use]
pub fn is_own(name: &str) -> bool {
    let mut letters = name.strip_prefix("xvd").unwrap_or_default().chars();
    let (series, letter) = (letters.next(), letters.next());
    letters.next().is_none()
        && match (series, letter) {
            (Some('a' | 'b'), Some(letter)) => letter.is_ascii_lowercase(),
            (Some('d'), Some(letter)) => ('a'..='x').contains(&letter),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn there_are_127_different_names_and_the_first_52_are_those_of_xen() {
        let names: Vec<String> = all().collect();
        assert_eq!(names.len(), COUNT);
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), COUNT);
        assert_eq!(
            (&*names[0], &*names[51], &*names[75], &*names[76], &*names[126]),
            ("xvdaa", "xvdbz", "xvddx", "xvdb", "sda2")
        );
    }

    #[test]
    fn own_names_are_the_76_two_letter_ones_and_boot_volumes_are_foreign() {
        assert_eq!(all().filter(|name| is_own(name)).count(), 76);
        for foreign in ["xvda", "xvdb", "sda1", "sdb", "xvdca", "xvddy", "nvme0n1", "", "xvdaaa"] {
            assert!(!is_own(foreign), "{foreign}");
        }
    }
}
