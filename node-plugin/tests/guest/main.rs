//! `csi-node efs` and `efs-tunnel` on a real kernel: the guest machine mounts NFS 4.1 through the
//! tunnel from a real NFS server of this host. One guest serves all cases, one after another.
//!
//! The way is in clear here, so that only the two programs and the kernel are looked at; what
//! encrypts it has its tests elsewhere.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test crate: its support functions fail and print as tests do"
)]

mod cases;
mod stand;

use stand::Stand;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_are_mounted_by_a_real_kernel_and_nothing_hangs_or_is_left() {
    let Some(stand) = Stand::start().await else { return };
    cases::a_pod_writes_and_everything_is_gone_afterwards(&stand).await;
    cases::two_pods_on_one_volume_share_a_port_and_end_one_by_one(&stand).await;
    cases::two_file_systems_behind_one_server_end_one_by_one(&stand).await;
    cases::a_killed_plugin_finds_its_mounts_again(&stand).await;
    cases::a_silent_server_hangs_no_call_and_gets_its_data_when_it_is_back(&stand).await;
    cases::a_directory_that_is_not_there_is_named(&stand).await;
    cases::pods_come_and_go_at_once(&stand).await;
}
