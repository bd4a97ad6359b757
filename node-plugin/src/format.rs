//! How a file system is made: the options of a StorageClass, and what old kernels can mount.

use csi_core::{FsType, Invalid};

use crate::features::{
    BIGTIME_INOBTCOUNT, Kernel, KernelVersion, MadeFor, NREXT64, ORPHAN_FILE_CSUM_SEED, REFLINK,
};

/// Options of `mkfs`, as they stand in the volume context.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FormatOptions {
    block_size: Option<String>,
    inode_size: Option<String>,
    bytes_per_inode: Option<String>,
    number_of_inodes: Option<String>,
    bigalloc: bool,
    cluster_size: Option<String>,
    encryption: bool,
    legacy_xfs: bool,
    oldest: Option<KernelVersion>,
}

/// The options' names in the volume context, with the file systems that know them.
const NAMES: [(&str, &[FsType]); 7] = [
    ("blocksize", &[FsType::Ext3, FsType::Ext4, FsType::Xfs]),
    ("inodesize", &[FsType::Ext3, FsType::Ext4, FsType::Xfs]),
    ("bytesperinode", &[FsType::Ext3, FsType::Ext4]),
    ("numberofinodes", &[FsType::Ext3, FsType::Ext4]),
    ("ext4bigalloc", &[FsType::Ext4]),
    ("ext4clustersize", &[FsType::Ext4]),
    ("ext4encryptionsupport", &[FsType::Ext4]),
];

impl FormatOptions {
    /// Reads the options of a volume context for a file system. Empty means unset.
    ///
    /// # Errors
    /// An option that the file system does not have, or a value with anything but letters and
    /// digits: values become arguments of a command.
    pub fn parse<'a>(
        fs: FsType,
        context: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Self, Invalid> {
        for (name, file_systems) in NAMES {
            let Some(value) = context(name).filter(|value| !value.is_empty()) else { continue };
            if !value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(Invalid::new(name, format!("letters and digits only, got {value:?}")));
            }
            if !file_systems.contains(&fs) {
                return Err(Invalid::new(name, format!("{fs} has no such option")));
            }
        }
        let text = |name| context(name).filter(|value| !value.is_empty()).map(str::to_owned);
        // Only the exact word counts, as the StorageClass parameters have always been read.
        let flag = |name| context(name) == Some("true");
        Ok(Self {
            block_size: text("blocksize"),
            inode_size: text("inodesize"),
            bytes_per_inode: text("bytesperinode"),
            number_of_inodes: text("numberofinodes"),
            bigalloc: flag("ext4bigalloc"),
            cluster_size: text("ext4clustersize"),
            encryption: flag("ext4encryptionsupport"),
            legacy_xfs: false,
            oldest: None,
        })
    }

    /// The same, with XFS made without shared extents if `legacy`, for kernels older than 4.16.
    #[must_use]
    pub fn for_old_xfs(self, legacy: bool) -> Self {
        Self { legacy_xfs: legacy, ..self }
    }

    /// The same, with the features that all kernels from `oldest` on have. Without it, those that
    /// every kernel since 4.16 has.
    #[must_use]
    pub fn for_kernels_from(self, oldest: Option<KernelVersion>) -> Self {
        Self { oldest, ..self }
    }

    /// The same, also for this kernel: a node may be newer in the cluster than what is known of it.
    #[must_use]
    pub fn and_for(self, kernel: &Kernel) -> Self {
        let oldest =
            self.oldest.map(|oldest| kernel.version().map_or(oldest, |own| own.min(oldest)));
        Self { oldest, ..self }
    }

    /// Whether a feature is made; `unknown` if it is not known for which kernels.
    fn makes(&self, feature: MadeFor, unknown: bool) -> bool {
        self.oldest.map_or(unknown, |oldest| feature.suits(oldest))
    }

    /// Whether any option of the volume context is set: raw block volumes must have none.
    #[must_use]
    pub fn first_set<'a>(context: impl Fn(&str) -> Option<&'a str>) -> Option<&'static str> {
        let set = |name: &&str| context(name).is_some_and(|value| !value.is_empty());
        NAMES.iter().map(|(name, _)| *name).find(set)
    }

    /// The arguments of `mkfs` before the device, for a file system of `bytes`, and those after it.
    ///
    /// The size is given because mke2fs would else wipe the end of the device first, where the
    /// marker of an unfinished `mkfs` stands. Nothing is discarded for the same reason.
    #[must_use]
    pub fn arguments(&self, fs: FsType, bytes: u64) -> (Vec<String>, Option<String>) {
        match fs {
            FsType::Ext3 | FsType::Ext4 => {
                (self.ext_arguments(fs), Some(format!("{}s", bytes / 512)))
            }
            FsType::Xfs => (self.xfs_arguments(bytes), None),
        }
    }

    fn ext_arguments(&self, fs: FsType) -> Vec<String> {
        let mut all = Vec::new();
        let mut push = |flag: &str, value: &str| all.extend([flag.to_owned(), value.to_owned()]);
        let sized = [
            ("-b", &self.block_size),
            ("-I", &self.inode_size),
            ("-i", &self.bytes_per_inode),
            ("-N", &self.number_of_inodes),
        ];
        for (flag, value) in sized {
            if let Some(value) = value {
                push(flag, value);
            }
        }
        if fs == FsType::Ext4 {
            let modern = self.makes(ORPHAN_FILE_CSUM_SEED, false);
            let both = ["^orphan_file,^metadata_csum_seed", "orphan_file,metadata_csum_seed"];
            push("-O", both[usize::from(modern)]);
        }
        if self.bigalloc {
            push("-O", "bigalloc");
        }
        if let Some(size) = &self.cluster_size {
            push("-C", size);
        }
        if self.encryption {
            push("-O", "encrypt");
        }
        push("-E", "nodiscard");
        // No blocks reserved for root: a volume has no daemons of its own to keep alive.
        all.extend(["-m0".to_owned(), "-F".to_owned(), "-q".to_owned()]);
        all
    }

    fn xfs_arguments(&self, bytes: u64) -> Vec<String> {
        let modern = u8::from(self.makes(BIGTIME_INOBTCOUNT, false));
        let mut metadata = format!("bigtime={modern},inobtcount={modern}");
        if self.legacy_xfs || !self.makes(REFLINK, true) {
            metadata.push_str(",reflink=0");
        }
        let counters = u8::from(self.makes(NREXT64, false));
        let inodes = match &self.inode_size {
            Some(size) => format!("size={size},nrext64={counters}"),
            None => format!("nrext64={counters}"),
        };
        let mut all = vec!["-m".to_owned(), metadata, "-i".to_owned(), inodes];
        // A size must be whole blocks, of which 64 KiB are the largest.
        all.extend(["-d".to_owned(), format!("size={}", bytes & !0xffff)]);
        if let Some(size) = &self.block_size {
            all.extend(["-b".to_owned(), format!("size={size}")]);
        }
        all.extend(["-K".to_owned(), "-f".to_owned(), "-q".to_owned()]);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(fs: FsType, pairs: &[(&str, &str)]) -> Result<FormatOptions, Invalid> {
        let get = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        FormatOptions::parse(fs, get)
    }

    #[test]
    fn ext4_options_come_in_the_order_of_the_driver_that_this_one_replaces() {
        let all = [
            ("blocksize", "1024"),
            ("inodesize", "512"),
            ("bytesperinode", "8192"),
            ("numberofinodes", "100"),
            ("ext4bigalloc", "true"),
            ("ext4clustersize", "16384"),
            ("ext4encryptionsupport", "true"),
        ];
        let (before, after) = parse(FsType::Ext4, &all).unwrap().arguments(FsType::Ext4, 1 << 20);
        assert_eq!(
            before.join(" "),
            "-b 1024 -I 512 -i 8192 -N 100 -O ^orphan_file,^metadata_csum_seed -O bigalloc \
             -C 16384 -O encrypt -E nodiscard -m0 -F -q"
        );
        assert_eq!(after.as_deref(), Some("2048s"));
    }

    #[test]
    fn xfs_is_made_for_old_kernels_and_of_whole_64_kib() {
        let options = parse(FsType::Xfs, &[("blocksize", "1024")]).unwrap().for_old_xfs(true);
        let (before, after) = options.arguments(FsType::Xfs, (1 << 30) - 4096);
        assert_eq!(
            before.join(" "),
            "-m bigtime=0,inobtcount=0,reflink=0 -i nrext64=0 -d size=1073676288 -b size=1024 -K \
             -f -q"
        );
        assert_eq!(after, None);
    }

    #[test]
    fn an_option_of_another_file_system_and_a_value_with_blanks_are_refused_by_name() {
        for (fs, name, value) in [
            (FsType::Xfs, "bytesperinode", "8192"),
            (FsType::Ext3, "ext4bigalloc", "true"),
            (FsType::Ext4, "blocksize", "1024 -E x"),
        ] {
            assert_eq!(parse(fs, &[(name, value)]).unwrap_err().field, name);
        }
        assert_eq!(parse(FsType::Xfs, &[("bytesperinode", "")]).unwrap(), FormatOptions::default());
    }
}
