//! Many callers at once, callers who give up, replies that are lost.

use std::collections::BTreeSet;
use std::time::Duration;

use csi_sim::world::{Action, FaultKind, Settings as Pace, When};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use crate::harness::{Bench, NODE, volume};

/// Lost replies for this action, at every so many calls.
fn lose(bench: &Bench, action: Action, every: u64) {
    bench.fault(action, When::Every(every), FaultKind::LoseReply);
}

/// Makes 32 callers of `call`, half of whom give up after 50 ms and come again; every one of them
/// retries until it succeeds. Returns what they got.
async fn storm<T, F, Fut>(bench: &Bench, call: F) -> BTreeSet<T>
where
    T: Ord + Send + 'static,
    F: Fn(Bench) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<T, Status>> + Send + 'static,
{
    let mut callers = JoinSet::new();
    for n in 0..32 {
        let (bench, call) = (bench.clone(), call.clone());
        callers.spawn(async move {
            if n % 2 == 0 {
                let _abandoned = timeout(Duration::from_millis(50), call(bench.clone())).await;
            }
            for _ in 0..200 {
                match call(bench.clone()).await {
                    Ok(answer) => return answer,
                    Err(status) => {
                        let passing = [Code::Aborted, Code::Unavailable];
                        assert!(passing.contains(&status.code()), "{status:?}");
                    }
                }
                sleep(Duration::from_millis(400)).await;
            }
            panic!("no answer after 200 tries");
        });
    }
    callers.join_all().await.into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn thirty_two_creates_of_one_name_make_one_volume() {
    for seed in 0..10 {
        let bench = Bench::with(Pace::ec2(), seed);
        lose(&bench, Action::CreateVolume, 2);
        lose(&bench, Action::DescribeVolumes, 3);
        let got = storm(&bench, |bench| async move {
            Ok::<_, Status>(bench.create(volume("pvc-1")).await?.volume_id)
        })
        .await;
        assert_eq!(got.len(), 1, "seed {seed}: {got:?}");
        let truth: BTreeSet<_> =
            bench.volumes().into_iter().map(|volume| volume.id.to_string()).collect();
        assert_eq!(truth, got, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_controllers_make_one_volume_too() {
    for seed in 0..10 {
        let bench = Bench::with(Pace::ec2(), seed);
        lose(&bench, Action::CreateVolume, 2);
        let call = |bench: Bench| async move {
            Ok::<_, Status>(bench.create(volume("pvc-1")).await?.volume_id)
        };
        let other = bench.another();
        let (a, b) = tokio::join!(storm(&bench, call), storm(&other, call));
        assert_eq!(a, b, "seed {seed}");
        assert_eq!(bench.volumes().len(), 1, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_versions_of_the_driver_that_tag_differently_make_one_volume() {
    for seed in 0..10 {
        let bench = Bench::with(Pace::ec2(), seed);
        let mut tagged = volume("pvc-1");
        tagged.parameters = crate::harness::map(&[("tagSpecification_1", "version=2")]);
        let old = bench.another();
        let killed = timeout(Duration::from_millis(30), old.create(volume("pvc-1")));
        assert!(killed.await.is_err());
        // EC2 has the volume, and for a while does not show it.
        let made = bench.create(tagged).await.unwrap();
        let [volume] = bench.volumes().try_into().unwrap();
        assert_eq!(volume.id.as_str(), made.volume_id, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn thirty_two_attaches_make_one_attachment_and_as_many_detaches_undo_it() {
    for seed in 0..10 {
        let bench = Bench::with(Pace::ec2(), seed);
        lose(&bench, Action::AttachVolume, 2);
        lose(&bench, Action::DetachVolume, 2);
        lose(&bench, Action::DescribeInstances, 2);
        let id = bench.made("pvc-1").await;
        let attach = {
            let id = id.clone();
            move |bench: Bench| {
                let id = id.clone();
                async move { bench.publish(&id, NODE).await }
            }
        };
        let got = storm(&bench, attach).await;
        assert_eq!(got.len(), 1, "seed {seed}: {got:?}");
        let attachments = bench.volumes()[0].attachments.clone();
        assert_eq!(attachments.len(), 1, "seed {seed}");
        assert_eq!(got.first().unwrap()["devicePath"], attachments[0].device);

        let detach = move |bench: Bench| {
            let id = id.clone();
            async move { bench.unpublish(&id, NODE).await }
        };
        storm(&bench, detach).await;
        assert_eq!(bench.volumes()[0].attachments, [], "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn work_goes_on_without_its_caller_and_a_drain_waits_for_it() {
    let bench = Bench::new();
    let abandoned = timeout(Duration::from_millis(50), bench.create(volume("pvc-1")));
    assert!(abandoned.await.is_err());
    assert_eq!(bench.controller.operations(), 1);
    let second = bench.create(volume("pvc-1")).await.unwrap_err();
    assert_eq!(second.code(), Code::Aborted, "the claim is held");
    bench.controller.drain().await;
    assert_eq!(bench.volumes().len(), 1);
}
