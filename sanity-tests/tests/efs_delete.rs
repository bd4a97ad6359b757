//! The deletion of volumes' directories, on a real NFS server through the real tunnel: what goes,
//! what stays, and what comes of a controller, a tunnel or a mount target that fails in the middle.
//! Whatever happens, every file that is not the volume's is there afterwards, by its inode.
#![expect(clippy::print_stdout, reason = "the figures belong into the log of a run")]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use csi_proto::csi;
use csi_sim::targets::{Behaviour, TargetScript, has_nfs_server};
use csi_sim::world::efs::{AccessPointSeed, CreationInfo, PosixUser, RootDirectory};
use sanity_tests::calls::{Claim, Volume, mount};
use sanity_tests::stand::{Deleting, Efs, FILE_SYSTEM, Settings, Stand, file_system};
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

const BASE: &str = "/dynamic_provisioning";
/// Files whose deletion takes seconds.
const MANY: usize = 1_500;
const MANAGED: (&str, &str) = ("efs.csi.aws.com/cluster", "true");

#[tokio::test(flavor = "multi_thread")]
async fn a_volumes_directory_goes_with_it_and_no_foreign_file_does() -> Result<()> {
    if !has_nfs_server() {
        println!("SKIPPED: nfs-ganesha is not installed");
        return Ok(());
    }
    let stand = Stand::start(Settings { efs: true, ..Settings::quick() }).await?;
    let efs = Efs::start(&stand).await?;
    let deleting = Deleting::start(&stand).await?;
    let yard = Yard { stand: &stand, deleting: &deleting };
    let outcome = match yard.all().await {
        Ok(()) => efs.check_nothing_is_left(&stand).await,
        failed => failed,
    };
    outcome.with_context(|| format!("{}{}", deleting.last_words(), efs.last_words(&stand)))
}

/// A file system with foreign files.
struct Yard<'a> {
    stand: &'a Stand,
    deleting: &'a Deleting<'a>,
}

impl Yard<'_> {
    async fn all(&self) -> Result<()> {
        self.plant_foreign_files()?;
        self.step("its directory goes", self.own_directory()).await?;
        self.step("what is not its own stays", self.foreign_directories()).await?;
        self.step("all that can be lost is", self.losses()).await
    }

    async fn step(&self, name: &str, step: impl Future<Output = Result<()>>) -> Result<()> {
        let before = inodes(&self.deleting.data())?;
        let started = Instant::now();
        step.await.context(name.to_owned())?;
        let after = inodes(&self.deleting.data())?;
        ensure!(after == before, "{name}: {:?}", difference(&before, &after));
        self.deleting.check_nothing_is_mounted().await.context(name.to_owned())?;
        println!("efs: {name}: {} foreign inodes untouched, {:?}", after.len(), started.elapsed());
        Ok(())
    }

    fn plant_foreign_files(&self) -> Result<()> {
        for file in ["foreign/vol/a", "foreign/b", "dynamic_provisioning/other/c", "top"] {
            let path = self.deleting.data().join(file);
            fs::create_dir_all(path.parent().context("no parent")?)?;
            fs::write(path, file)?;
        }
        Ok(symlink("foreign", self.deleting.data().join("linked"))?)
    }

    async fn volume(&self, name: &str) -> Result<Volume> {
        let parameters = [
            ("provisioningMode", "efs-ap"),
            ("fileSystemId", FILE_SYSTEM),
            ("directoryPerms", "700"),
            ("basePath", BASE),
        ];
        let parameters = parameters.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let claim = Claim {
            name: name.to_owned(),
            bytes: 1 << 30,
            zone: String::new(),
            parameters: HashMap::from(parameters),
            capability: mount(""),
            snapshot: None,
        };
        self.deleting.controller().create(&claim).await
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.deleting.data().join(BASE.trim_start_matches('/')).join(name)
    }

    async fn delete_once(&self, volume: &str) -> Result<(), tonic::Status> {
        let request =
            csi::DeleteVolumeRequest { volume_id: volume.to_owned(), ..Default::default() };
        self.deleting.controller().raw().delete_volume(request).await.map(drop)
    }

    async fn access_point(&self, token: &str) -> Result<Option<String>> {
        let state = self.stand.admin.state().await?;
        let mut of_token = state.access_points.iter().filter(|(_, ap)| ap.client_token == token);
        Ok(of_token.next().map(|(id, _)| format!("efs:{FILE_SYSTEM}::{id}")))
    }

    async fn own_directory(&self) -> Result<()> {
        let volume = self.volume("pvc-own").await?;
        let folder = self.folder("pvc-own");
        let mut deep = folder.clone();
        deep.extend(["d"; 80]);
        fs::create_dir_all(&deep)?;
        fs::write(deep.join("file"), "deep")?;
        fill(&folder, 300)?;
        // What a tenant may leave behind to lead a deletion astray.
        symlink(self.deleting.data().join("foreign"), folder.join("absolute"))?;
        symlink("../../foreign", folder.join("relative"))?;
        fs::hard_link(self.deleting.data().join("top"), folder.join("hard"))?;
        self.deleting.kill_tunnel()?;
        let status = self.delete_once(&volume.id).await.err().context("it was deleted")?;
        ensure!(status.code() == Code::Unavailable, "{status:?}");
        ensure!(status.message().contains("efs-tunnel"), "{status:?}");
        ensure!(folder.join("file-0").exists(), "files are lost");
        ensure!(self.access_point("pvc-own").await?.is_some(), "it is gone");
        self.deleting.start_tunnel().await?;
        self.deleting.controller().delete(&volume.id).await?;
        ensure!(!folder.exists(), "{} is there", folder.display());
        self.deleting.controller().delete(&volume.id).await
    }

    /// Access points whose directories are not to go, each with what it is.
    async fn foreign_directories(&self) -> Result<()> {
        let points = [
            ("root", "/", true, Some("/")),
            ("link", "/linked/vol", true, Some("/linked")),
            ("above", "/dynamic_provisioning", true, Some("/")),
            ("inside", "/dynamic_provisioning/other", true, Some(BASE)),
            ("untagged", "/foreign", false, None),
            ("outside", "/foreign/vol", true, Some(BASE)),
            ("file", "/foreign/b", true, Some("/foreign")),
        ];
        for (token, path, ours, base) in points {
            // Alone, so that nothing but its own rule protects the directory; but the two that lie
            // inside each other.
            if token != "inside" {
                self.point(token, path, ours, base).await?;
            }
            if token == "above" {
                self.point("inside", "/dynamic_provisioning/other", true, Some(BASE)).await?;
            }
            let id = self.access_point(token).await?.context("no access point")?;
            self.deleting.controller().delete(&id).await.context(token)?;
            ensure!(self.access_point(token).await?.is_none(), "{token} is there");
            if token == "above" {
                // The other is alone now; its files are not the volume's.
                self.point("sibling", "/dynamic_provisioning/other/c2", true, Some(BASE)).await?;
            }
        }
        let sibling = self.access_point("sibling").await?.context("no access point")?;
        self.deleting.controller().delete(&sibling).await
    }

    async fn point(&self, token: &str, path: &str, ours: bool, base: Option<&str>) -> Result<()> {
        let mut tags = BTreeMap::new();
        if ours {
            tags.insert(MANAGED.0.to_owned(), MANAGED.1.to_owned());
        }
        if let Some(base) = base {
            tags.insert("efs.csi.aws.com/base-path".to_owned(), base.to_owned());
        }
        let owner = PosixUser { uid: 7, gid: 7, secondary_gids: vec![] };
        let creation_info =
            CreationInfo { owner_uid: 7, owner_gid: 7, permissions: "700".to_owned() };
        let root = RootDirectory { path: path.to_owned(), creation_info: Some(creation_info) };
        let seed =
            AccessPointSeed { client_token: token.to_owned(), posix_user: Some(owner), root, tags };
        let mut all = file_system();
        all.access_points.push(seed);
        Ok(self.stand.admin.set_file_system(&all).await?)
    }

    /// The mount target, then the controller, in the middle of a deletion.
    async fn losses(&self) -> Result<()> {
        let volume = self.volume("pvc-lost").await?;
        let folder = self.folder("pvc-lost");
        fill(&folder, MANY)?;
        let abandoned = {
            let (controller, id) = (self.deleting.controller(), volume.id.clone());
            tokio::spawn(async move { controller.delete(&id).await })
        };
        let left = self.until_fewer_than(&folder, MANY).await?;
        self.target(Behaviour::Refuse).await?;
        sleep(Duration::from_secs(2)).await;
        self.target(Behaviour::Normal).await?;
        self.until_fewer_than(&folder, left.saturating_sub(100)).await?;
        abandoned.abort();
        self.deleting.kill_controller()?;
        ensure!(self.trash().exists(), "the kill came too late");
        self.deleting.check_nothing_is_mounted().await?;
        self.deleting.start_controller().await?;
        self.deleting.controller().delete(&volume.id).await?;
        ensure!(!folder.exists() && !self.trash().exists(), "something is left");
        ensure!(self.access_point("pvc-lost").await?.is_none(), "it is there");
        Ok(())
    }

    fn trash(&self) -> PathBuf {
        self.deleting.data().join(".efs-csi-trash")
    }

    /// Waits until the directory is in the trash and has fewer files and directories; how many.
    async fn until_fewer_than(&self, folder: &Path, count: usize) -> Result<usize> {
        let shrunk = async {
            loop {
                // While it shrinks, it cannot always be walked.
                let left = inodes(&self.trash()).map_or(0, |found| found.len());
                if !folder.exists() && (1..count).contains(&left) {
                    return left;
                }
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(Duration::from_mins(1), shrunk).await.context("nothing is deleted")
    }

    async fn target(&self, behaviour: Behaviour) -> Result<()> {
        let script = TargetScript { file_system: None, address: None, behaviour };
        Ok(self.stand.admin.script_targets(&script).await?)
    }
}

/// Makes files in a directory, and directories with files.
fn fill(folder: &Path, count: usize) -> Result<()> {
    for n in 0..count {
        let inside = if n % 10 == 9 { folder.join(format!("sub-{n}")) } else { folder.to_owned() };
        fs::create_dir_all(&inside)?;
        fs::write(inside.join(format!("file-{n}")), "x")?;
    }
    Ok(())
}

/// Every file and directory below a folder, by inode.
fn inodes(folder: &Path) -> Result<BTreeMap<PathBuf, u64>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let about = entry.path().symlink_metadata()?;
            found.insert(entry.path(), about.ino());
            if about.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(found)
}

fn difference(
    before: &BTreeMap<PathBuf, u64>,
    after: &BTreeMap<PathBuf, u64>,
) -> Vec<(PathBuf, Option<u64>, Option<u64>)> {
    let paths = before.keys().chain(after.keys()).collect::<std::collections::BTreeSet<_>>();
    let both = paths.into_iter().map(|path| (path, before.get(path), after.get(path)));
    let differing = both.filter(|(_, one, other)| one != other);
    differing.map(|(path, one, other)| (path.clone(), one.copied(), other.copied())).collect()
}
