//! `ListVolumes`, `ListSnapshots`, `ControllerGetVolume`, `ValidateVolumeCapabilities`.

use std::collections::BTreeSet;

use csi_controller::ebs::{CAPABILITIES, LISTING_CAPABILITIES, Settings};
use csi_proto::csi;
use csi_proto::csi::controller_server::Controller;
use csi_proto::csi::volume_capability::access_mode::Mode;
use tonic::{Code, Request, Status};

use crate::harness::{Bench, NODE, capability, code};

async fn volumes(
    bench: &Bench,
    max_entries: i32,
    token: &str,
) -> Result<csi::ListVolumesResponse, Status> {
    let message = csi::ListVolumesRequest { max_entries, starting_token: token.to_owned() };
    bench.controller.list_volumes(Request::new(message)).await.map(tonic::Response::into_inner)
}

async fn snapshots(
    bench: &Bench,
    message: csi::ListSnapshotsRequest,
) -> Result<csi::ListSnapshotsResponse, Status> {
    bench.controller.list_snapshots(Request::new(message)).await.map(tonic::Response::into_inner)
}

fn id(entry: &csi::list_volumes_response::Entry) -> String {
    entry.volume.as_ref().unwrap().volume_id.clone()
}

#[tokio::test(start_paused = true)]
async fn every_volume_is_listed_once_whatever_the_page_size() {
    let bench = Bench::new();
    let mut want = BTreeSet::new();
    for n in 0..13 {
        want.insert(bench.made(&format!("pvc-{n}")).await);
    }
    for max in [1, 2, 3, 4, 5, 6, 12, 13, 14, 0] {
        let mut seen = Vec::new();
        let mut token = String::new();
        loop {
            let page = volumes(&bench, max, &token).await.unwrap();
            assert!(max == 0 || page.entries.len() <= usize::try_from(max).unwrap());
            seen.extend(page.entries.iter().map(id));
            token = page.next_token;
            if token.is_empty() {
                break;
            }
        }
        // The instances' root volumes are the account's too.
        seen.retain(|id| want.contains(id));
        assert_eq!(seen.len(), 13, "pages of {max}");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), want, "pages of {max}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_shows_where_volumes_are_and_not_what_was_deleted() {
    let bench = Bench::new();
    let [one, two] = [bench.made("pvc-1").await, bench.made("pvc-2").await];
    bench.publish(&one, NODE).await.unwrap();
    bench.delete(&two).await.unwrap();
    let page = volumes(&bench, 0, "").await.unwrap();
    let find = |wanted: &String| page.entries.iter().find(|entry| id(entry) == *wanted);
    assert_eq!(find(&one).unwrap().status.as_ref().unwrap().published_node_ids, [NODE]);
    assert!(find(&two).is_none(), "reads may still show it, the driver knows better");
}

#[tokio::test(start_paused = true)]
async fn deleting_between_pages_neither_loses_nor_doubles_the_others() {
    let bench = Bench::new();
    for n in 0..5 {
        bench.made(&format!("pvc-{n}")).await;
    }
    let all: Vec<_> = volumes(&bench, 0, "").await.unwrap().entries.iter().map(id).collect();
    let first = volumes(&bench, 2, "").await.unwrap();
    let deletable = bench.volumes().into_iter().find(|volume| {
        volume.attachments.is_empty()
            && id(&first.entries[0]) != volume.id.to_string()
            && id(&first.entries[1]) != volume.id.to_string()
    });
    let deleted = deletable.unwrap().id.to_string();
    bench.delete(&deleted).await.unwrap();
    let mut seen: Vec<_> = first.entries.iter().map(id).collect();
    let mut token = first.next_token;
    while !token.is_empty() {
        let page = volumes(&bench, 2, &token).await.unwrap();
        seen.extend(page.entries.iter().map(id));
        token = page.next_token;
    }
    let want: BTreeSet<_> = all.into_iter().filter(|id| *id != deleted).collect();
    assert_eq!(seen.len(), want.len());
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), want);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_aborted() {
    let bench = Bench::new();
    for token in ["invalid-token", ";invalid", "vol-1;"] {
        assert_eq!(code(volumes(&bench, 0, token).await), Code::Aborted, "{token}");
        let message =
            csi::ListSnapshotsRequest { starting_token: token.to_owned(), ..Default::default() };
        assert_eq!(code(snapshots(&bench, message).await), Code::Aborted, "{token}");
    }
    assert_eq!(code(volumes(&bench, -1, "").await), Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn snapshots_are_listed_by_page_by_id_and_by_source() {
    let bench = Bench::new();
    let [one, two] = [bench.made("pvc-1").await, bench.made("pvc-2").await];
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(bench.snapshot(&format!("one-{n}"), &one).await.unwrap().snapshot_id);
    }
    ids.push(bench.snapshot("two", &two).await.unwrap().snapshot_id);
    let all = csi::ListSnapshotsRequest::default;

    let first = csi::ListSnapshotsRequest { max_entries: 3, ..all() };
    let page = snapshots(&bench, first).await.unwrap();
    assert_eq!(page.entries.len(), 3);
    let rest = csi::ListSnapshotsRequest { starting_token: page.next_token, ..all() };
    let page = snapshots(&bench, rest).await.unwrap();
    assert_eq!((page.entries.len(), page.next_token.as_str()), (1, ""));

    let count = async |message| snapshots(&bench, message).await.unwrap().entries.len();
    let by_source = |id: &str| csi::ListSnapshotsRequest { source_volume_id: id.into(), ..all() };
    assert_eq!(count(by_source(&one)).await, 3);
    assert_eq!(count(by_source("vol-0123456789abcdef0")).await, 0);
    assert_eq!(count(by_source("nonsense")).await, 0);
    let by_id = |id: &str| csi::ListSnapshotsRequest { snapshot_id: id.into(), ..all() };
    assert_eq!(count(by_id(&ids[3])).await, 1);
    assert_eq!(count(by_id("snap-0123456789abcdef0")).await, 0);
    assert_eq!(count(by_id("nonsense")).await, 0);
    bench.delete_snapshot(&ids[3]).await.unwrap();
    assert_eq!(count(all()).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_volume_can_be_asked_for_by_id() {
    let bench = Bench::new();
    let made = bench.made("pvc-1").await;
    bench.publish(&made, NODE).await.unwrap();
    let get = |id: &str| {
        let message = csi::ControllerGetVolumeRequest { volume_id: id.to_owned() };
        bench.controller.controller_get_volume(Request::new(message))
    };
    let found = get(&made).await.unwrap().into_inner();
    assert_eq!(found.status.unwrap().published_node_ids, [NODE]);
    assert_eq!(code(get("vol-0123456789abcdef0").await), Code::NotFound);
    assert_eq!(code(get("nonsense").await), Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn capabilities_are_confirmed_or_the_reason_is_given() {
    let bench = Bench::new();
    let made = bench.made("pvc-1").await;
    let validate = |id: &str, mode: Mode| {
        let mut wanted = capability();
        wanted.access_mode.as_mut().unwrap().mode = mode as i32;
        let message = csi::ValidateVolumeCapabilitiesRequest {
            volume_id: id.to_owned(),
            volume_capabilities: vec![wanted],
            ..Default::default()
        };
        bench.controller.validate_volume_capabilities(Request::new(message))
    };
    let yes = validate(&made, Mode::SingleNodeWriter).await.unwrap().into_inner();
    assert_eq!(yes.confirmed.unwrap().volume_capabilities, [capability()]);
    let no = validate(&made, Mode::MultiNodeMultiWriter).await.unwrap().into_inner();
    assert_eq!(no.confirmed, None);
    assert!(no.message.contains("Block"), "{}", no.message);
    let absent = validate("vol-0123456789abcdef0", Mode::SingleNodeWriter).await;
    assert_eq!(code(absent), Code::NotFound);
}

#[tokio::test]
async fn what_is_advertised_is_what_is_implemented() {
    use csi::controller_service_capability::Type;
    let bench = Bench::new();
    let quiet = bench.another_with(Settings::default());
    let always = CAPABILITIES.to_vec();
    for (bench, want) in [(&bench, [&always[..], &LISTING_CAPABILITIES].concat()), (&quiet, always)]
    {
        let message = Request::new(csi::ControllerGetCapabilitiesRequest {});
        let reply = bench.controller.controller_get_capabilities(message).await.unwrap();
        let advertised = reply.into_inner().capabilities.into_iter();
        let advertised: Vec<i32> = advertised
            .map(|capability| match capability.r#type.unwrap() {
                Type::Rpc(rpc) => rpc.r#type,
            })
            .collect();
        assert_eq!(advertised, want.into_iter().map(|one| one as i32).collect::<Vec<_>>());
    }
    assert_eq!(code(volumes(&quiet, 0, "").await), Code::Unimplemented);
    let capacity = csi::GetCapacityRequest::default();
    assert_eq!(
        code(bench.controller.get_capacity(Request::new(capacity)).await),
        Code::Unimplemented
    );
}
