//! The official conformance suite against the real binaries, whole, in the guest.
#![expect(clippy::print_stdout, reason = "the summary and the skips belong into the log of a run")]

use anyhow::{Result, ensure};
use csi_sim::world::{Action, Fault, FaultKind, Service, When};
use sanity_tests::sanity::{self, Run, Verdict};
use sanity_tests::stand::{CONTROLLER_IN_GUEST, NODE_IN_GUEST, Settings, Stand};
use tokio::task::block_in_place;

/// Tests that the suite skips: a part of their name, and why. All but one ask for a capability that
/// this driver does not advertise.
const SKIPPED: [(&str, &str); 9] = [
    ("ControllerListVolumeHealth", "LIST_VOLUME_HEALTH, an alpha of 1.13, is not advertised"),
    ("ControllerGetVolumeHealth", "GET_VOLUME_HEALTH, an alpha of 1.13, is not advertised"),
    ("NodeGetVolumeHealth", "GET_VOLUME_HEALTH, an alpha of 1.13, is not advertised"),
    ("NodeGetStorageHealth", "GET_STORAGE_HEALTH, an alpha of 1.13, is not advertised"),
    ("GetCapacity", "GET_CAPACITY is not advertised: EC2 does not tell"),
    ("with accessibility requirements", "SNAPSHOT_ACCESSIBILITY_CONSTRAINTS is not advertised"),
    ("already published but is incompatible", "PUBLISH_READONLY is not advertised: EBS has none"),
    ("GroupController Service", "GROUP_CONTROLLER_SERVICE is not advertised"),
    ("pagination should detect volumes added between pages", "pending in the suite itself"),
];

/// Actions that the suite leads to in no test: it changes no tags, waits for no volume to be filled
/// and sets no fast restore or lock, the parameters need no dry run, and the driver asks neither STS
/// nor for instance types.
const NOT_LED_TO: [Action; 6] = [
    Action::CreateTags,
    Action::DeleteTags,
    Action::DescribeInstanceTypes,
    Action::DescribeVolumeStatus,
    Action::EnableFastSnapshotRestores,
    Action::LockSnapshot,
];

/// Few enough volumes that the suite fills the instance: 11, the root among them.
const SMALL_INSTANCE: &str = "inf1.24xlarge";

fn run(stand: &Stand, access: &'static str) -> Result<Verdict> {
    let suite = Run {
        access,
        node: NODE_IN_GUEST.to_owned(),
        controller: CONTROLLER_IN_GUEST.to_owned(),
        parameters: vec![("type", "gp3"), ("iops", "3000")],
        mutable: vec![("iops", "3014"), ("throughput", "153")],
    };
    let verdict = block_in_place(|| suite.execute(stand.guest()))?;
    println!("csi-sanity, {access}: {}", verdict.summary);
    for name in &verdict.skipped {
        let why = SKIPPED.iter().find(|(part, _why)| name.contains(part));
        println!("csi-sanity, {access}: skips {name}: {}", why.map_or("?", |(_part, why)| why));
    }
    Ok(verdict)
}

async fn check(stand: &Stand, verdict: &Verdict) -> Result<()> {
    ensure!(verdict.failed.is_empty(), "failed: {:#?}\n{}", verdict.failed, verdict.output);
    let unexpected: Vec<_> = verdict
        .skipped
        .iter()
        .filter(|name| !SKIPPED.iter().any(|(part, _why)| name.contains(part)))
        .collect();
    ensure!(unexpected.is_empty(), "skipped for no known reason: {unexpected:#?}");
    stand.check_nothing_is_left().await
}

async fn stand() -> Result<Stand> {
    let stand =
        Stand::start(Settings { instance_type: SMALL_INSTANCE, ..Settings::quick() }).await?;
    block_in_place(|| sanity::install(stand.guest()))?;
    Ok(stand)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_suite_passes_for_directories() -> Result<()> {
    let stand = stand().await?;
    check(&stand, &run(&stand, "mount")?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_suite_passes_for_block_devices() -> Result<()> {
    let stand = stand().await?;
    check(&stand, &run(&stand, "block")?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_suite_passes_though_each_action_it_leads_to_fails_once_and_loses_a_reply()
-> Result<()> {
    let stand = stand().await?;
    for action in Action::ALL {
        if action.service() != Service::Ec2 || NOT_LED_TO.contains(action) {
            continue;
        }
        let transient = FaultKind::FailBefore {
            code: "InternalError".to_owned(),
            message: "An internal error has occurred".to_owned(),
        };
        for (nth, fault) in [(1, transient), (2, FaultKind::LoseReply)] {
            let fault = Fault { action: Some(*action), when: When::Nth(nth), fault };
            stand.admin.add_fault(&fault).await?;
        }
    }
    let verdict = run(&stand, "mount")?;
    let faults = stand.admin.faults().await?;
    let unused: Vec<_> = faults.iter().filter(|report| report.struck == 0).collect();
    ensure!(unused.is_empty(), "faults that never struck prove nothing: {unused:#?}");
    println!("csi-sanity, mount: {} faults struck", faults.len());
    check(&stand, &verdict).await
}
