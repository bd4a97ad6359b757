//! Each EFS action with one transient failure, one lost call, one lost reply and one failure after
//! the effect: the call of the CO succeeds all the same, and the world holds what it promised.

use csi_sim::world::{Action, FaultKind, When};
use tonic::Code;

use crate::harness::{Bench, code, volume, volume_of};

fn faults() -> Vec<FaultKind> {
    let (code, message) = ("InternalServerError".to_owned(), String::new());
    vec![
        FaultKind::Throttle,
        FaultKind::LoseCall,
        FaultKind::LoseReply,
        FaultKind::FailBefore { code: code.clone(), message: message.clone() },
        FaultKind::FailAfter { code, message },
    ]
}

/// A volume's whole life.
async fn life(bench: &Bench) {
    let request = volume_of("pvc-1", &[("enforceZoneAffinity", "true")]);
    let made = bench.create(request.clone()).await.unwrap().volume_id;
    let other = bench.made("pvc-2").await;
    assert_eq!(bench.create(request).await.unwrap().volume_id, made);
    let gids = bench.gids();
    assert_eq!(gids.len(), 2, "{gids:?}");
    assert_ne!(gids[0], gids[1]);
    bench.delete(&made).await.unwrap();
    bench.delete(&other).await.unwrap();
    assert_eq!(bench.access_points(), []);
}

#[tokio::test(start_paused = true)]
async fn one_fault_per_action_is_resolved_inside_the_call() {
    let actions = [
        Action::CreateAccessPoint,
        Action::DeleteAccessPoint,
        Action::DescribeAccessPoints,
        Action::DescribeFileSystems,
    ];
    for action in actions {
        for fault in faults() {
            let bench = Bench::new();
            bench.fault(action, When::Next, fault.clone());
            life(&bench).await;
            let struck = bench.sim.with(|world, _| world.faults()[0].struck);
            assert_eq!(struck, 1, "{action:?} {fault:?} never struck");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_after_the_creating_call_is_aborted_and_the_next_try_finds_the_volume() {
    let bench = Bench::new();
    bench.fault(Action::CreateAccessPoint, When::Times(4), FaultKind::LoseReply);
    let status = bench.create(volume("pvc-1")).await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted);
    assert!(status.message().contains("pvc-1"), "{}", status.message());
    assert_eq!(bench.access_points().len(), 1);
    bench.made("pvc-1").await;
    assert_eq!(bench.access_points().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outage_does_not_use_up_the_range() {
    let bench = Bench::new();
    let two = [("gidRangeStart", "7"), ("gidRangeEnd", "8")];
    bench.fault(Action::CreateAccessPoint, When::Times(20), FaultKind::LoseCall);
    for _ in 0..5 {
        assert_eq!(code(bench.create(volume_of("pvc-1", &two)).await), Code::Aborted);
    }
    bench.create(volume_of("pvc-1", &two)).await.unwrap();
    bench.create(volume_of("pvc-2", &two)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn refusals_that_did_nothing_are_final_and_say_what_to_do() {
    let cases = [
        ("AccessDeniedException", Code::PermissionDenied, "elasticfilesystem:CreateAccessPoint"),
        ("BadRequest", Code::InvalidArgument, "BadRequest"),
        ("AccessPointLimitExceeded", Code::ResourceExhausted, "AccessPointLimitExceeded"),
        ("ExpiredToken", Code::Unauthenticated, "role"),
        ("IncorrectFileSystemLifeCycleState", Code::Unavailable, "LifeCycleState"),
        ("FileSystemNotFound", Code::InvalidArgument, "fileSystemId"),
    ];
    for (aws, want, text) in cases {
        let bench = Bench::new();
        // Twice, since a denial may be due to the tags and is tried without.
        let fault = FaultKind::FailBefore { code: aws.to_owned(), message: "no".to_owned() };
        bench.fault(Action::CreateAccessPoint, When::Times(2), fault);
        let status = bench.create(volume("pvc-1")).await.unwrap_err();
        assert_eq!(status.code(), want, "{}", status.message());
        assert!(status.message().contains(text), "{}", status.message());
        assert!(status.message().contains("request id"), "{}", status.message());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_lost_reply_is_not_final() {
    for (aws, lost) in [
        ("AccessDeniedException", FaultKind::LoseReply),
        ("AccessPointLimitExceeded", FaultKind::LoseReply),
    ] {
        let bench = Bench::new();
        bench.fault(Action::CreateAccessPoint, When::Next, lost);
        let denied = FaultKind::FailBefore { code: aws.to_owned(), message: String::new() };
        bench.fault(Action::CreateAccessPoint, When::Nth(2), denied);
        assert_eq!(code(bench.create(volume("pvc-1")).await), Code::Aborted);
        bench.made("pvc-1").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_is_checked_before_the_token_does_not_hide_the_volume() {
    let bench = Bench::new();
    bench.made("pvc-1").await;
    let full = FaultKind::FailBefore {
        code: "AccessPointLimitExceeded".to_owned(),
        message: String::new(),
    };
    bench.fault(Action::CreateAccessPoint, When::Times(1), full);
    // Not final: the volume is there, and the next try says so.
    assert_eq!(code(bench.another().create(volume("pvc-1")).await), Code::Aborted);
    bench.another().made("pvc-1").await;
}

#[tokio::test(start_paused = true)]
async fn a_role_that_may_not_set_the_drivers_tags_makes_volumes_without_them() {
    let bench = Bench::new();
    let denied =
        FaultKind::FailBefore { code: "AccessDeniedException".to_owned(), message: String::new() };
    bench.fault(Action::CreateAccessPoint, When::Next, denied);
    bench.made("pvc-1").await;
    bench.made("pvc-2").await;
    for point in bench.access_points() {
        assert_eq!(point.tags.keys().collect::<Vec<_>>(), ["efs.csi.aws.com/cluster"]);
    }
    assert_eq!(bench.calls(Action::CreateAccessPoint), 3, "it is remembered");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_call_ends_with_the_operations_bound_and_releases_the_name() {
    let bench = Bench::new();
    bench.fault(Action::CreateAccessPoint, When::Next, FaultKind::HangAfter);
    assert_eq!(code(bench.create(volume("pvc-1")).await), Code::Aborted);
    bench.made("pvc-1").await;
    assert_eq!(bench.access_points().len(), 1);
}
