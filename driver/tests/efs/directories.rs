//! Volumes whose directories go with them: in which order, and what comes of faults. A folder of this
//! machine stands for the file system.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use csi_controller::efs::{EfsController, Settings, TRASH, Way, Whole, WholeError, Wholes};
use csi_proto::csi;
use csi_proto::csi::controller_server::Controller;
use csi_sim::SimEfs;
use csi_sim::world::efs::{CreateAccessPoint, PosixUser, RootDirectory};
use csi_sim::world::{Action, FaultKind, When};
use tempfile::TempDir;
use tonic::{Code, Request, Status};

use crate::harness::{Bench, FS, code, volume_of};

/// Opens a folder, unless it is unreachable.
#[derive(Clone)]
struct Folder {
    folder: Arc<TempDir>,
    unreachable: Arc<AtomicBool>,
}

impl Wholes for Folder {
    async fn open(&self, way: Way) -> Result<Arc<Whole>, WholeError> {
        assert_eq!(way.file_system.as_str(), FS);
        if self.unreachable.load(Ordering::Relaxed) {
            return Err(WholeError::NoTarget { file_system: way.file_system });
        }
        let root = File::open(self.folder.path()).unwrap();
        Ok(Arc::new(Whole::new(root.into())))
    }
}

struct Yard {
    bench: Bench,
    data: Folder,
    controller: EfsController<SimEfs, Folder>,
}

impl Yard {
    fn new() -> Self {
        let bench = Bench::new();
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let data = Folder { folder, unreachable: Arc::default() };
        let controller = controller(&bench, &data);
        Self { bench, data, controller }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.data.folder.path().join(path)
    }

    /// A volume with a file in its directory, as a pod leaves it.
    async fn used(&self, name: &str) -> (String, PathBuf) {
        let id = self.bench.made(name).await;
        let folder = self.path("dynamic_provisioning").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("file"), name).unwrap();
        (id, folder)
    }

    async fn delete(&self, id: &str) -> Result<(), Status> {
        delete(&self.controller, id).await
    }

    fn other(&self, token: &str, path: &str) {
        let call = CreateAccessPoint {
            client_token: token.to_owned(),
            file_system: FS.to_owned(),
            posix_user: Some(PosixUser { uid: 1, gid: 1, secondary_gids: vec![] }),
            root: RootDirectory { path: path.to_owned(), creation_info: None },
            tags: std::collections::BTreeMap::new(),
        };
        self.bench.sim.with(|world, now| world.create_access_point(&call, now).unwrap());
    }
}

fn controller(bench: &Bench, data: &Folder) -> EfsController<SimEfs, Folder> {
    EfsController::new(SimEfs::new(bench.sim.clone()), Settings::default())
        .deleting_directories(data.clone())
}

async fn delete(controller: &EfsController<SimEfs, Folder>, id: &str) -> Result<(), Status> {
    let message = csi::DeleteVolumeRequest { volume_id: id.to_owned(), ..Default::default() };
    controller.delete_volume(Request::new(message)).await.map(drop)
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[tokio::test(start_paused = true)]
async fn the_directory_goes_before_the_access_point_and_a_repetition_is_fine() {
    let yard = Yard::new();
    let (id, folder) = yard.used("pvc-1").await;
    let (_, beside) = yard.used("pvc-2").await;
    for _ in 0..2 {
        yard.delete(&id).await.unwrap();
        assert!(!folder.exists() && !yard.path(TRASH).exists());
    }
    assert!(beside.join("file").exists());
    assert_eq!(yard.bench.access_points().len(), 1);
    for nothing in [FS, "reallyfakevolumeid", "efs:fs-92107410::fsap-0123456789abcdef0"] {
        yard.delete(nothing).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_no_pod_used_has_no_directory_and_is_deleted() {
    let yard = Yard::new();
    let id = yard.bench.made("pvc-1").await;
    yard.delete(&id).await.unwrap();
    assert_eq!(yard.bench.access_points(), []);
    assert!(is_empty(yard.data.folder.path()));
}

#[tokio::test(start_paused = true)]
async fn what_shares_files_with_another_access_point_stays_and_the_volume_goes() {
    for path in ["/dynamic_provisioning/pvc-1", "/dynamic_provisioning/pvc-1/sub", "/"] {
        let yard = Yard::new();
        let (id, folder) = yard.used("pvc-1").await;
        yard.other("other", path);
        tokio::time::sleep(Duration::from_secs(30)).await;
        yard.delete(&id).await.unwrap();
        assert!(folder.join("file").exists(), "{path}");
        assert_eq!(yard.bench.access_points().len(), 1, "{path}");
        assert!(!yard.path(TRASH).exists(), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_access_point_that_is_seen_late_gets_its_files_back() {
    let yard = Yard::new();
    let (id, folder) = yard.used("pvc-1").await;
    // Reads lag, so the first listing need not show it.
    yard.other("other", "/dynamic_provisioning/pvc-1/sub");
    let inode = fs::metadata(folder.join("file")).unwrap().ino();
    yard.delete(&id).await.unwrap();
    assert_eq!(fs::metadata(folder.join("file")).unwrap().ino(), inode);
}

#[tokio::test(start_paused = true)]
async fn files_that_a_killed_controller_moved_are_put_back_if_they_are_anothers_too() {
    let yard = Yard::new();
    let (id, folder) = yard.used("pvc-1").await;
    let point = id.rsplit(':').next().unwrap();
    fs::create_dir_all(yard.path(TRASH)).unwrap();
    fs::rename(&folder, yard.path(TRASH).join(format!("{point}.1"))).unwrap();
    yard.other("other", "/dynamic_provisioning/pvc-1");
    tokio::time::sleep(Duration::from_secs(30)).await;
    yard.delete(&id).await.unwrap();
    assert!(folder.join("file").exists());
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_a_deletion_and_the_successor_goes_on() {
    let yard = Yard::new();
    let (id, folder) = yard.used("pvc-1").await;
    let deletion = {
        let (controller, id) = (yard.controller.clone(), id.clone());
        tokio::spawn(async move { delete(&controller, &id).await })
    };
    while folder.exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    yard.controller.drain().await;
    assert_eq!(code(deletion.await.unwrap()), Code::Aborted);
    assert!(yard.path(TRASH).exists());
    delete(&controller(&yard.bench, &yard.data), &id).await.unwrap();
    assert!(!yard.path(TRASH).exists());
}

#[tokio::test(start_paused = true)]
async fn a_file_system_that_cannot_be_mounted_loses_nothing() {
    let yard = Yard::new();
    let (id, folder) = yard.used("pvc-1").await;
    yard.data.unreachable.store(true, Ordering::Relaxed);
    let status = yard.delete(&id).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(status.message().contains("mount target"), "{status:?}");
    assert!(folder.join("file").exists());
    assert_eq!(yard.bench.access_points().len(), 1);
    yard.data.unreachable.store(false, Ordering::Relaxed);
    yard.delete(&id).await.unwrap();
    assert!(!folder.exists());
}

#[tokio::test(start_paused = true)]
async fn a_handle_with_another_file_system_deletes_nothing() {
    let yard = Yard::new();
    let (id, folder) = yard.used("pvc-1").await;
    let wrong = id.replace(FS, "fs-00000000");
    assert_eq!(code(yard.delete(&wrong).await), Code::InvalidArgument);
    assert!(folder.join("file").exists());
    assert_eq!(yard.bench.access_points().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_efs_keeps_access_point_and_files_and_the_next_try_ends_it() {
    for action in [Action::DescribeAccessPoints, Action::DeleteAccessPoint] {
        let yard = Yard::new();
        let (id, folder) = yard.used("pvc-1").await;
        let (code, message) = ("AccessDeniedException".to_owned(), "no".to_owned());
        yard.bench.fault(action, When::Next, FaultKind::FailBefore { code, message });
        let status = yard.delete(&id).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{action:?}: {status:?}");
        assert_eq!(yard.bench.access_points().len(), 1, "{action:?}");
        let looked = action == Action::DescribeAccessPoints;
        assert_eq!(folder.exists(), looked, "{action:?}");
        yard.delete(&id).await.unwrap();
        assert!(!folder.exists() && !yard.path(TRASH).exists(), "{action:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn entries_of_volumes_that_are_gone_are_deleted_with_the_next_volume() {
    let yard = Yard::new();
    let (id, _) = yard.used("pvc-1").await;
    let (alive, _) = yard.used("pvc-2").await;
    let alive = alive.rsplit(':').next().unwrap();
    for owner in ["fsap-00000000000000000", alive] {
        fs::create_dir_all(yard.path(TRASH).join(format!("{owner}.1")).join("sub")).unwrap();
    }
    yard.delete(&id).await.unwrap();
    let left: Vec<_> = fs::read_dir(yard.path(TRASH)).unwrap().map(|e| e.unwrap()).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0].file_name().to_str().unwrap(), format!("{alive}.1"));
}

#[tokio::test(start_paused = true)]
async fn a_new_volume_of_the_same_directory_is_not_made_while_the_old_one_goes() {
    let yard = Yard::new();
    let pattern = [("subPathPattern", "fixed"), ("ensureUniqueDirectory", "false")];
    let first = yard.bench.create(volume_of("pvc-1", &pattern)).await.unwrap().volume_id;
    let folder = yard.path("dynamic_provisioning/fixed");
    fs::create_dir_all(&folder).unwrap();
    let inode = fs::metadata(&folder).unwrap().ino();
    // Both run in one process.
    let making = {
        let controller = yard.controller.clone();
        let message = volume_of("pvc-2", &pattern);
        tokio::spawn(async move { controller.create_volume(Request::new(message)).await })
    };
    tokio::task::yield_now().await;
    let deleted = yard.delete(&first).await;
    let made = making.await.unwrap();
    match (deleted, made) {
        // The volume came first, so the directory is not the old one's alone.
        (Ok(()), Ok(_)) => assert_eq!(fs::metadata(&folder).unwrap().ino(), inode),
        (Ok(()), Err(status)) | (Err(status), Ok(_)) => assert_eq!(status.code(), Code::Aborted),
        both => unreachable!("{both:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn forty_deletions_at_once_share_their_listings() {
    let yard = Yard::new();
    let mut volumes = Vec::new();
    for n in 0..40 {
        volumes.push(yard.used(&format!("pvc-{n}")).await);
    }
    let before = yard.bench.calls(Action::DescribeAccessPoints);
    let mut deletions = tokio::task::JoinSet::new();
    for (id, _) in &volumes {
        let (controller, id) = (yard.controller.clone(), id.clone());
        deletions.spawn(async move {
            while let Err(status) = delete(&controller, &id).await {
                assert!(matches!(status.code(), Code::Unavailable | Code::Aborted), "{status:?}");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
    }
    deletions.join_all().await;
    let calls = yard.bench.calls(Action::DescribeAccessPoints) - before;
    assert!(calls <= 40 + 40, "{calls} calls");
    assert_eq!(yard.bench.access_points(), []);
    assert!(is_empty(&yard.path("dynamic_provisioning")) && !yard.path(TRASH).exists());
}
