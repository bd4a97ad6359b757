//! Volumes as disks of a real guest.

use csi_bed::{Bed, BootError, Guest, Root};

use super::bench::element;
use super::loop_device::Host;

async fn boot() -> Option<Bed> {
    match tokio::task::spawn_blocking(Bed::boot).await.unwrap() {
        Ok(bed) => Some(bed),
        Err(BootError::NotRoot) => {
            eprintln!("SKIPPED: not root, so no guest machine");
            None
        }
        Err(error) => panic!("{error}: {error:?}"),
    }
}

fn link(id: &str) -> String {
    let serial = id.replacen('-', "", 1);
    format!("/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{serial}")
}

fn head(guest: &Guest, id: &str) -> String {
    guest.run(&format!("head -c 6 {}", link(id))).unwrap()
}

fn size(guest: &Guest, id: &str) -> String {
    guest.run(&format!("blockdev --getsize64 {}", link(id))).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_sees_volumes_come_grow_survive_a_power_cut_and_go() {
    let Some(bed) = boot().await else { return };
    let guest = bed.guest();
    let host = Host::with(Some(bed.run_dir())).await;
    let id = host.create(1, "").await;
    host.attach_only(&id, "/dev/xvdaa").await;
    assert_eq!(size(guest, &id), (1_u64 << 30).to_string());
    let write = |text: &str| {
        let disk = link(&id);
        guest.run(&format!("printf {text} | dd of={disk} conv=fsync,notrunc 2>&1")).unwrap();
    };
    write("before");
    let form = format!("Action=CreateSnapshot&VolumeId={id}");
    let snapshot = element(&host.bench.ok(&form).await, "snapshotId");
    write("after!");
    host.bench.ok(&format!("Action=ModifyVolume&VolumeId={id}&Size=2")).await;
    host.until(|dump| dump.volumes[&id].size_gib == 2).await;
    assert_eq!(size(guest, &id), (2_u64 << 30).to_string());

    bed.power_cut();
    bed.boot_again(Root::Kept).unwrap();
    host.bench.admin.reboot(&host.bench.node).await.unwrap();
    let restored = host.create(3, &snapshot).await;
    host.attach_only(&restored, "/dev/xvdab").await;
    assert_eq!(head(guest, &restored), "before");
    assert_eq!(size(guest, &restored), (3_u64 << 30).to_string());
    let back =
        format!("for i in $(seq 100); do test -b {} && exit 0; sleep 0.1; done; exit 1", link(&id));
    guest.run(&back).unwrap();
    assert_eq!(head(guest, &id), "after!");

    host.detach(&id).await;
    host.detach(&restored).await;
    assert!(guest.disks().list().unwrap().is_empty());
    host.devices.close().unwrap();
}
