//! Reads `/proc/self/mountinfo`. Format: proc(5). Paths are octal-escaped there and need not be
//! UTF-8.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::kernel::MountEntry;

/// The entries in a mount table; lines that are none are left out.
pub(super) fn parse(text: &[u8]) -> Vec<MountEntry> {
    text.split(|&byte| byte == b'\n').filter_map(entry).collect()
}

fn entry(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|&byte| byte == b' ');
    let device = text(fields.nth(2)?).parse().ok()?;
    let root = path(fields.next()?);
    let at = path(fields.next()?);
    let options = list(fields.next()?);
    // Any number of optional fields, then a hyphen.
    fields.by_ref().find(|field| *field == b"-")?;
    let fs = text(fields.next()?);
    let source = path(fields.next()?).to_string_lossy().into_owned();
    let super_options = list(fields.next()?);
    Some(MountEntry { device, root, at, fs, source, options, super_options })
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

fn list(field: &[u8]) -> Vec<String> {
    text(field).split(',').map(str::to_owned).collect()
}

/// Undoes the kernel's escapes of space, tab, newline and backslash: `\040`.
fn path(field: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| byte == b'\\').and_then(octal);
        plain.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(OsString::from_vec(plain))
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::DeviceNumber;
    use proptest::prelude::*;

    #[test]
    fn an_entry_is_read_with_none_one_or_two_optional_fields_and_escaped_blanks() {
        for optional in ["", "shared:7 ", "shared:7 master:1 "] {
            let line = format!(
                "36 35 259:3 / /var/a\\040b\\134c rw,noatime {optional}- ext4 /dev/nvme1n1 rw,discard"
            );
            let found = parse(line.as_bytes());
            assert_eq!(
                found,
                [MountEntry {
                    device: DeviceNumber { major: 259, minor: 3 },
                    root: "/".into(),
                    at: "/var/a b\\c".into(),
                    fs: "ext4".into(),
                    source: "/dev/nvme1n1".into(),
                    options: vec!["rw".into(), "noatime".into()],
                    super_options: vec!["rw".into(), "discard".into()],
                }]
            );
        }
    }

    #[test]
    fn the_own_mount_table_is_read_whole() {
        let table = std::fs::read("/proc/self/mountinfo").unwrap();
        let lines = table.split(|&byte| byte == b'\n').count() - 1;
        assert_eq!(parse(&table).len(), lines);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes);
        }
    }
}
