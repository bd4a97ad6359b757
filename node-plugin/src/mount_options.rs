//! Mount options as users write them, sorted into mount(2)'s flags and the file system's own data.

use nix::mount::MsFlags;

/// Options for mount(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// Flags of the mount itself.
    pub flags: MsFlags,
    /// Options for the file system, comma-separated.
    pub data: String,
}

/// Options that only mount(8) and fstab understand; the kernel would refuse them.
const USERLAND: [&str; 13] = [
    "auto", "noauto", "defaults", "nofail", "_netdev", "user", "nouser", "users", "owner", "group",
    "loop", "rbind", "bind",
];

impl Default for MountOptions {
    fn default() -> Self {
        Self { flags: MsFlags::empty(), data: String::new() }
    }
}

impl MountOptions {
    /// Sorts options; later ones win over earlier ones, as in mount(8). What is no flag goes to the
    /// file system as it is, which knows its options better than any list here.
    #[must_use]
    pub fn parse<'a>(options: impl IntoIterator<Item = &'a str>) -> Self {
        let mut flags = MsFlags::empty();
        let mut data: Vec<&str> = Vec::new();
        for option in options.into_iter().flat_map(split) {
            if let Some((set, clear)) = vfs_flag(option) {
                flags = (flags - clear) | set;
            } else if !is_userland(option) && !data.contains(&option) {
                data.push(option);
            }
        }
        Self { flags, data: data.join(",") }
    }

    /// The same with one more option for the file system.
    #[must_use]
    pub fn with_data(mut self, option: &str) -> Self {
        if !split(&self.data).any(|present| present == option) {
            if !self.data.is_empty() {
                self.data.push(',');
            }
            self.data.push_str(option);
        }
        self
    }

    /// Whether writing is refused.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.flags.contains(MsFlags::MS_RDONLY)
    }

    /// The flags that belong to one mount and not to the file system under it, without the times'
    /// ones, which the kernel completes by a default of its own.
    #[must_use]
    pub fn per_mount(&self) -> MsFlags {
        self.flags & PER_MOUNT
    }
}

/// Flags that a bind mount can have of its own and that the mount table shows exactly.
pub const PER_MOUNT: MsFlags =
    MsFlags::MS_RDONLY.union(MsFlags::MS_NOSUID).union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// How a mount updates access times.
pub const TIMES: MsFlags = MsFlags::MS_NOATIME
    .union(MsFlags::MS_NODIRATIME)
    .union(MsFlags::MS_RELATIME)
    .union(MsFlags::MS_STRICTATIME);

/// The flags in a list of the mount table.
#[must_use]
pub fn flags_of(shown: &[String]) -> MsFlags {
    MountOptions::parse(shown.iter().map(String::as_str)).flags
}

/// Splits at commas outside double quotes: `SELinux` contexts contain commas and are quoted.
fn split(options: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    options
        .split(move |c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        })
        .map(str::trim)
        .filter(|option| !option.is_empty())
}

fn is_userland(option: &str) -> bool {
    USERLAND.contains(&option) || option.starts_with("x-") || option.starts_with("comment=")
}

/// The flag an option sets and those it clears. Source: mount(8), "Filesystem-independent mount
/// options".
fn vfs_flag(option: &str) -> Option<(MsFlags, MsFlags)> {
    let none = MsFlags::empty();
    let set = |flag| Some((flag, MsFlags::empty()));
    let clear = |flag| Some((MsFlags::empty(), flag));
    match option {
        "ro" => set(MsFlags::MS_RDONLY),
        "rw" => clear(MsFlags::MS_RDONLY),
        "nosuid" => set(MsFlags::MS_NOSUID),
        "suid" => clear(MsFlags::MS_NOSUID),
        "nodev" => set(MsFlags::MS_NODEV),
        "dev" => clear(MsFlags::MS_NODEV),
        "noexec" => set(MsFlags::MS_NOEXEC),
        "exec" => clear(MsFlags::MS_NOEXEC),
        "sync" => set(MsFlags::MS_SYNCHRONOUS),
        "async" => clear(MsFlags::MS_SYNCHRONOUS),
        "dirsync" => set(MsFlags::MS_DIRSYNC),
        "mand" => set(MsFlags::MS_MANDLOCK),
        "nomand" => clear(MsFlags::MS_MANDLOCK),
        "silent" => set(MsFlags::MS_SILENT),
        "loud" => clear(MsFlags::MS_SILENT),
        "noatime" => Some((MsFlags::MS_NOATIME, TIMES - MsFlags::MS_NODIRATIME)),
        "atime" => Some((none, MsFlags::MS_NOATIME)),
        "nodiratime" => set(MsFlags::MS_NODIRATIME),
        "diratime" => clear(MsFlags::MS_NODIRATIME),
        "relatime" => Some((MsFlags::MS_RELATIME, MsFlags::MS_NOATIME | MsFlags::MS_STRICTATIME)),
        "norelatime" => clear(MsFlags::MS_RELATIME),
        "strictatime" => {
            Some((MsFlags::MS_STRICTATIME, MsFlags::MS_NOATIME | MsFlags::MS_RELATIME))
        }
        "nostrictatime" => clear(MsFlags::MS_STRICTATIME),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn options_are_sorted_and_the_last_of_opposites_wins() {
        let parsed =
            MountOptions::parse(["ro,noatime", "discard", "rw", "defaults,nofail", "x-a=b"]);
        assert_eq!(parsed, MountOptions { flags: MsFlags::MS_NOATIME, data: "discard".into() });
        assert!(MountOptions::parse(["ro"]).is_read_only());
    }

    #[test]
    fn a_quoted_context_keeps_its_commas_and_quotes() {
        let context = r#"context="system_u:object_r:container_file_t:s0:c1,c2""#;
        let parsed = MountOptions::parse(["nosuid", context]);
        assert_eq!(parsed, MountOptions { flags: MsFlags::MS_NOSUID, data: context.into() });
    }

    #[test]
    fn an_option_is_added_once() {
        let parsed = MountOptions::parse(["nouuid"]).with_data("nouuid").with_data("prjquota");
        assert_eq!(parsed.data, "nouuid,prjquota");
    }

    proptest! {
        #[test]
        fn any_text_is_sorted_without_a_panic_and_nothing_unknown_is_lost(text in "[a-z0-9,=\" ]*") {
            let parsed = MountOptions::parse([text.as_str()]);
            let again = MountOptions::parse([parsed.data.as_str()]);
            prop_assert_eq!(again.data, parsed.data);
            prop_assert!(again.flags.is_empty());
        }
    }
}
