//! The options of the mount itself: flags of mount(2), and options for the kernel's NFS client.
//!
//! mount(2) is called directly, so what upstream's chain of programs adds or takes away is done
//! here: defaults are added as they do, options for `mount.nfs` are left out, and what decides where
//! the kernel connects to is ours alone. Options: nfs(5).

use std::collections::BTreeMap;

use csi_core::Invalid;
use nix::mount::MsFlags;

use super::Item;
use crate::mount_options::MountOptions;

/// Options without a value that the kernel's NFS version 4 client knows.
const WORDS: [&str; 26] = [
    "ac",
    "acl",
    "cto",
    "fsc",
    "hard",
    "intr",
    "lock",
    "migration",
    "noac",
    "noacl",
    "nocto",
    "nofsc",
    "nointr",
    "nolock",
    "nomigration",
    "nordirplus",
    "noresvport",
    "nosharecache",
    "nosofterr",
    "nosoftreval",
    "rdirplus",
    "resvport",
    "sharecache",
    "soft",
    "softerr",
    "softreval",
];

/// Options with a number.
const NUMBERS: [&str; 11] = [
    "acdirmax",
    "acdirmin",
    "acregmax",
    "acregmin",
    "actimeo",
    "bsize",
    "max_connect",
    "retrans",
    "rsize",
    "timeo",
    "wsize",
];

/// Options with a text.
const TEXTS: [&str; 6] =
    ["context", "defcontext", "fscontext", "local_lock", "lookupcache", "rootcontext"];

/// Options that only `mount.nfs` and fstab understand, and `nconnect`: a port leads to one
/// connection, as it always has.
const LEFT_OUT: [&str; 5] = ["bg", "fg", "nconnect", "retry", "sloppy"];

/// Options that decide where the kernel connects to.
const OURS: [&str; 12] = [
    "addr",
    "clientaddr",
    "mountaddr",
    "mounthost",
    "mountport",
    "mountproto",
    "mountvers",
    "port",
    "rdma",
    "source",
    "udp",
    "xprtsec",
];

/// How a file system is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NfsOptions {
    /// Flags for mount(2).
    pub flags: MsFlags,
    /// Minor version of NFS 4.
    minor: u8,
    /// Options for the client, by key.
    options: BTreeMap<String, Option<String>>,
}

impl Default for NfsOptions {
    fn default() -> Self {
        Self { flags: MsFlags::empty(), minor: 1, options: BTreeMap::new() }
    }
}

impl NfsOptions {
    pub(super) fn parse(items: &[Item<'_>]) -> Result<Self, Invalid> {
        let mut read = Self::default();
        let mut for_vfs = Vec::new();
        for item in items {
            let key = item.key.as_str();
            if OURS.contains(&key) {
                let rule = "is set by the driver: the kernel connects to the tunnel of this node";
                return Err(item.invalid(rule));
            } else if LEFT_OUT.contains(&key) {
                tracing::info!(option = key, "left out: it has no effect here");
            } else if WORDS.contains(&key) {
                item.bare()?;
                read.insert(item)?;
            } else if NUMBERS.contains(&key) {
                item.number::<u32>()?;
                read.insert(item)?;
            } else if TEXTS.contains(&key) {
                item.text()?;
                read.insert(item)?;
            } else if !read.take_fixed(item)? {
                for_vfs.push(vfs(item)?);
            }
        }
        read.flags = MountOptions::parse(for_vfs.iter().map(String::as_str)).flags;
        read.check()
    }

    fn insert(&mut self, item: &Item<'_>) -> Result<(), Invalid> {
        let value = item.value.map(str::to_owned);
        match self.options.insert(item.key.clone(), value.clone()) {
            Some(earlier) if earlier != value => {
                Err(item.invalid("is given twice, with different values"))
            }
            _ => Ok(()),
        }
    }

    /// Options whose value can only be what EFS speaks.
    fn take_fixed(&mut self, item: &Item<'_>) -> Result<bool, Invalid> {
        let refuse = |rule: &str| Err(item.invalid(rule));
        match (item.key.as_str(), item.value) {
            ("vers" | "nfsvers", Some("4" | "4.1")) | ("minorversion", Some("1")) => self.minor = 1,
            ("vers" | "nfsvers", Some("4.0")) | ("minorversion", Some("0")) => self.minor = 0,
            ("vers" | "nfsvers" | "minorversion", _) => {
                return refuse("EFS speaks NFS 4.0 and 4.1");
            }
            ("proto", Some("tcp")) | ("tcp", None) | ("sec", Some("sys")) => {}
            ("proto" | "tcp", _) => return refuse("EFS speaks NFS over TCP"),
            ("sec", _) => return refuse("EFS knows sec=sys only"),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn check(self) -> Result<Self, Invalid> {
        let has = |key: &str| self.options.contains_key(key);
        for (one, other) in [
            ("hard", "soft"),
            ("hard", "softerr"),
            ("soft", "softerr"),
            ("resvport", "noresvport"),
            ("ac", "noac"),
            ("cto", "nocto"),
            ("lock", "nolock"),
            ("rdirplus", "nordirplus"),
            ("sharecache", "nosharecache"),
        ] {
            if has(one) && has(other) {
                return Err(Invalid::new(
                    format!("mount_flags.{one}"),
                    format!("excludes {other}"),
                ));
            }
        }
        Ok(self)
    }

    /// Whether writing is refused.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.flags.contains(MsFlags::MS_RDONLY)
    }

    /// The option string for mount(2), through the tunnel's port.
    #[must_use]
    pub fn data(&self, port: u16) -> String {
        let mut options = vec![format!("vers=4.{}", self.minor)];
        let absent = |keys: &[&str]| !keys.iter().any(|key| self.options.contains_key(*key));
        for (key, value) in [("rsize", "1048576"), ("wsize", "1048576")] {
            if absent(&[key]) {
                options.push(format!("{key}={value}"));
            }
        }
        if absent(&["hard", "soft", "softerr"]) {
            options.push("hard".to_owned());
        }
        for (key, value) in [("timeo", "600"), ("retrans", "2")] {
            if absent(&[key]) {
                options.push(format!("{key}={value}"));
            }
        }
        if absent(&["resvport", "noresvport"]) {
            options.push("noresvport".to_owned());
        }
        options.extend(self.options.iter().map(|(key, value)| match value {
            None => key.clone(),
            Some(value) => format!("{key}={value}"),
        }));
        // mount.nfs would add the addresses (nfs(5)); the kernel wants them.
        options.push("proto=tcp,addr=127.0.0.1,clientaddr=127.0.0.1".to_owned());
        options.push(format!("port={port}"));
        options.join(",")
    }
}

/// An option of every file system, as mount(8) knows it.
fn vfs(item: &Item<'_>) -> Result<String, Invalid> {
    let text = match item.value {
        None => item.key.clone(),
        Some(value) => format!("{}={value}", item.key),
    };
    // What is left over is neither a flag nor one that only mount(8) understands.
    if MountOptions::parse([text.as_str()]).data.is_empty() {
        Ok(text)
    } else {
        Err(item.invalid("is neither an option of mount(8) nor of NFS version 4"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::efs::options::Options;

    fn parse(flags: &str) -> Result<NfsOptions, Invalid> {
        let flags: Vec<String> = flags.split(' ').map(str::to_owned).collect();
        Options::parse(&flags).map(|options| options.nfs)
    }

    #[test]
    fn without_flags_the_mount_is_the_one_that_efs_recommends() {
        assert_eq!(
            NfsOptions::default().data(20_123),
            "vers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport,\
             proto=tcp,addr=127.0.0.1,clientaddr=127.0.0.1,port=20123"
        );
    }

    #[test]
    fn what_is_given_replaces_the_default() {
        let read = parse("soft rsize=65536 timeo=100 nfsvers=4.0 resvport acregmin=3").unwrap();
        assert_eq!(
            read.data(20_049),
            "vers=4.0,wsize=1048576,retrans=2,acregmin=3,resvport,rsize=65536,soft,timeo=100,\
             proto=tcp,addr=127.0.0.1,clientaddr=127.0.0.1,port=20049"
        );
    }

    #[test]
    fn generic_options_become_flags_and_those_of_mount_nfs_are_left_out() {
        let read = parse("ro nosuid NOEXEC noatime bg retry=5 _netdev nofail x-a nconnect=4 tcp");
        let read = read.unwrap();
        let flags =
            MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
        assert_eq!(read.flags, flags);
        assert!(read.is_read_only());
        assert_eq!(read.data(1), NfsOptions::default().data(1));
    }

    #[test]
    fn what_the_driver_sets_and_what_nobody_knows_is_refused_by_name() {
        for (flags, key) in [
            ("port=2049", "port"),
            ("addr=10.0.0.1", "addr"),
            ("clientaddr=10.0.0.1", "clientaddr"),
            ("source=10.0.0.1:/", "source"),
            ("udp", "udp"),
            ("proto=udp", "proto"),
            ("vers=3", "vers"),
            ("nfsvers=4.2", "nfsvers"),
            ("sec=krb5", "sec"),
            ("rsize", "rsize"),
            ("rsize=big", "rsize"),
            ("rsize=1 rsize=2", "rsize"),
            ("hard=1", "hard"),
            ("hard soft", "hard"),
            ("resvport noresvport", "resvport"),
            ("uid=0", "uid"),
            ("whatever", "whatever"),
        ] {
            let error = parse(flags).unwrap_err();
            assert_eq!(error.field, format!("mount_flags.{key}"), "{flags}");
        }
    }
}
