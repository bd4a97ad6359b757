//! File systems of another account: the role is assumed, and nodes are told where to mount.

use csi_proto::csi;
use csi_proto::csi::controller_server::Controller;
use csi_sim::world::Action;
use csi_sim::world::role::{RoleSeed, Trust};
use tonic::{Code, Request};

use crate::harness::{Bench, code, map, volume, volume_of};

const ROLE: &str = "arn:aws:iam::210987654321:role/efs";

fn bench() -> Bench {
    let bench = Bench::new();
    let trusts = vec![Trust::Signed { external_id: Some("hush".to_owned()) }];
    let role = RoleSeed::new(ROLE, trusts);
    bench.sim.with(|world, _| world.set_role(role));
    bench
}

fn with_secret(
    message: csi::CreateVolumeRequest,
    pairs: &[(&str, &str)],
) -> csi::CreateVolumeRequest {
    let mut secrets = map(&[("awsRoleArn", ROLE), ("externalId", "hush")]);
    secrets.extend(map(pairs));
    csi::CreateVolumeRequest { secrets, ..message }
}

#[tokio::test(start_paused = true)]
async fn the_addresses_of_all_zones_or_of_the_wanted_one_are_told_to_nodes() {
    let bench = bench();
    let all = bench.create(with_secret(volume("pvc-1"), &[])).await.unwrap();
    let want = map(&[("mounttargetipmap", r#"{"us-east-1a":"10.0.0.1","us-east-1b":"10.0.0.2"}"#)]);
    assert_eq!(all.volume_context, want);
    let one = with_secret(volume_of("pvc-2", &[("az", "us-east-1b")]), &[]);
    let one = bench.create(one).await.unwrap();
    assert_eq!(one.volume_context, map(&[("mounttargetip", "10.0.0.2")]));
    let by_name = with_secret(volume("pvc-3"), &[("crossaccount", "true")]);
    let by_name = bench.create(by_name).await.unwrap();
    assert_eq!(by_name.volume_context, map(&[("crossaccount", "true")]));
    assert_eq!(bench.calls(Action::AssumeRole), 1, "the session is kept");
}

#[tokio::test(start_paused = true)]
async fn a_role_that_does_not_trust_the_driver_is_said_and_no_secret_is() {
    let bench = bench();
    let refused = with_secret(volume("pvc-1"), &[("externalId", "other-secret")]);
    let status = bench.create(refused).await.unwrap_err();
    assert!(status.message().contains("AssumeRole"), "{}", status.message());
    assert!(!status.message().contains("other-secret"), "{}", status.message());
    assert_eq!(bench.access_points(), []);
    let wrong = with_secret(volume("pvc-1"), &[("crossaccount", "maybe")]);
    assert_eq!(code(bench.create(wrong).await), Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_uses_the_role_too() {
    let bench = bench();
    let made = bench.create(with_secret(volume("pvc-1"), &[])).await.unwrap();
    let message = csi::DeleteVolumeRequest {
        volume_id: made.volume_id,
        secrets: map(&[("awsRoleArn", ROLE), ("externalId", "hush")]),
    };
    bench.controller.delete_volume(Request::new(message)).await.unwrap();
    assert_eq!(bench.access_points(), []);
    let last = bench.sim.with(|world, _| world.history().last().unwrap().subject.clone());
    assert!(last.contains(ROLE), "{last}");
}
