//! File systems are made for the oldest kernel of the cluster, as their superblocks show, and one
//! that this node's kernel cannot mount is refused by the feature's name.

use anyhow::{Context, Result, ensure};
use sanity_tests::bare::{BareVolume, GIB};
use sanity_tests::calls::mount;
use sanity_tests::mkfs_log::on_logged_stand;
use sanity_tests::stand::{Settings, on_shared_stand};
use tonic::Code;

/// The oldest kernel that the controller relays, and which features must be made and must not.
/// Sources: the table in the node plugin.
struct Made {
    oldest: Option<&'static str>,
    has: &'static [&'static str],
    lacks: &'static [&'static str],
}

const EXT4: [Made; 4] = [
    Made { oldest: None, has: &["64bit", "metadata_csum"], lacks: &EXT_NEW },
    Made { oldest: Some("5.10.226-214.880.amzn2.x86_64"), has: &["extent"], lacks: &EXT_NEW },
    Made { oldest: Some("5.15.173-118.169.amzn2.x86_64"), has: &EXT_NEW, lacks: &[] },
    Made { oldest: Some("6.12.22-27.96.amzn2023.x86_64"), has: &EXT_NEW, lacks: &[] },
];

const XFS: [Made; 5] = [
    Made { oldest: None, has: &["REFLINK"], lacks: &["BIGTIME", "INOBTCNT", "NREXT64"] },
    Made { oldest: Some("4.14.355-275.570.amzn2.x86_64"), has: &["CRC"], lacks: &XFS_NEW },
    Made {
        oldest: Some("5.10.226-214.880.amzn2.x86_64"),
        has: &["REFLINK"],
        lacks: &["BIGTIME", "INOBTCNT", "NREXT64"],
    },
    Made {
        oldest: Some("5.15.173-118.169.amzn2.x86_64"),
        has: &["REFLINK", "BIGTIME", "INOBTCNT"],
        lacks: &["NREXT64"],
    },
    // This node's own kernel, Linux 6.1, is older than what the controller knows.
    Made {
        oldest: Some("6.12.22-27.96.amzn2023.x86_64"),
        has: &["REFLINK", "BIGTIME", "INOBTCNT"],
        lacks: &["NREXT64"],
    },
];

const EXT_NEW: [&str; 2] = ["orphan_file", "metadata_csum_seed"];
const XFS_NEW: [&str; 4] = ["REFLINK", "BIGTIME", "INOBTCNT", "NREXT64"];

/// The features in the superblock, as an independent tool names them.
fn features(volume: &BareVolume, fs: &str) -> Result<Vec<String>> {
    volume.run("sync")?;
    let (tool, flags): (_, &[&str]) =
        if fs == "xfs" { ("xfs_db", &["-r", "-c", "version"]) } else { ("dumpe2fs", &["-h"]) };
    let (read, said) = volume.host_tool(tool, flags)?;
    ensure!(read, "{said}");
    let wanted = |line: &&str| line.starts_with("versionnum") || line.contains("features:");
    let line = said.lines().find(wanted).with_context(|| said.clone())?;
    let words = line.split([' ', ',']).map(str::to_owned);
    Ok(words.filter(|word| !word.is_empty()).collect())
}

#[test]
fn a_file_system_has_the_features_that_the_oldest_kernel_of_the_cluster_knows_and_no_newer()
-> Result<()> {
    on_shared_stand(Settings::quick, async |stand| {
        for (fs, cases) in [("ext4", &EXT4[..]), ("xfs", &XFS[..])] {
            for case in cases {
                let mut volume = BareVolume::new(stand, &mount(fs), GIB)?;
                volume.plug()?;
                if let Some(oldest) = case.oldest {
                    let context = &mut volume.place.publish_context;
                    context.insert("oldestKernel".to_owned(), oldest.to_owned());
                }
                volume.use_it().await?;
                volume.write_file("data")?;
                volume.leave().await?;
                let found = features(&volume, fs)?;
                let has = |name: &&&str| found.iter().any(|feature| feature == **name);
                let missing: Vec<_> = case.has.iter().filter(|name| !has(name)).collect();
                let extra: Vec<_> = case.lacks.iter().filter(has).collect();
                ensure!(
                    missing.is_empty() && extra.is_empty(),
                    "{fs} for {:?} lacks {missing:?} and has {extra:?}: {found:?}",
                    case.oldest
                );
                volume.check_file_system()?;
                volume.end()?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_file_system_that_this_kernel_cannot_mount_is_refused_by_the_features_name() -> Result<()> {
    on_logged_stand(Settings::quick, async |stand, log| {
        let volume = BareVolume::new(stand, &mount("xfs"), GIB)?;
        let (made, said) = volume.host_tool("mkfs.xfs", &["-q"])?;
        ensure!(made, "{said}");
        // `sb_features_incompat`, big-endian: `exchange` and `parent` came with Linux 6.10.
        let bits = volume.read_at(219, 1)?;
        volume.write_at(219, &[bits.first().copied().unwrap_or_default() | 0xc0])?;
        let device = volume.plug()?;
        let words = [&*device, "xfs", "exchange (Linux 6.10)", "parent (Linux 6.10)", "6.1."];
        volume.is_refused(log, Code::FailedPrecondition, &words).await?;
        volume.write_at(219, &bits)?;
        volume.use_it().await?;
        volume.leave().await?;
        ensure!(volume.runs(log)? == 0, "it was formatted");
        volume.end()
    })
}
