//! One caller: what is made, what comes of doing it again, what is refused.

use csi_controller::efs::Settings;
use csi_core::efs::parse_tags;
use csi_proto::csi;
use csi_proto::csi::volume_capability::{AccessType, BlockVolume};
use csi_sim::world::Action;
use csi_sim::world::efs::FileSystemSeed;
use tonic::Code;

use crate::harness::{Bench, FS, capability, code, volume, volume_of};

#[tokio::test(start_paused = true)]
async fn a_volume_is_an_access_point_with_an_identity_and_a_directory_of_its_own() {
    let bench = Bench::new();
    let made = bench.create(volume("pvc-1")).await.unwrap();
    let [point] = bench.access_points().try_into().unwrap();
    assert_eq!(made.volume_id, format!("efs:{FS}::{}", point.id));
    assert_eq!(made.capacity_bytes, 1 << 30);
    assert!(made.volume_context.is_empty() && made.accessible_topology.is_empty());
    let user = point.posix_user.unwrap();
    assert!((1000..=2000).contains(&user.gid), "{user:?}");
    assert_eq!(user.uid, user.gid);
    assert_eq!(point.root.path, "/dynamic_provisioning/pvc-1");
    let creation = point.root.creation_info.unwrap();
    assert_eq!((creation.owner_uid, creation.owner_gid), (user.uid, user.gid));
    assert_eq!(creation.permissions, "700");
    assert_eq!(point.tags["efs.csi.aws.com/cluster"], "true");
    assert_eq!(point.tags["efs.csi.aws.com/gid"], user.gid.to_string());
}

#[tokio::test(start_paused = true)]
async fn the_same_request_finds_the_volume_and_another_size_is_refused() {
    let bench = Bench::new();
    let first = bench.made("pvc-1").await;
    for again in [&bench, &bench.another()] {
        assert_eq!(again.made("pvc-1").await, first);
        let mut larger = volume("pvc-1");
        larger.capacity_range =
            Some(csi::CapacityRange { required_bytes: 2 << 30, limit_bytes: 0 });
        assert_eq!(code(again.create(larger).await), Code::AlreadyExists);
    }
    assert_eq!(bench.access_points().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn names_of_every_length_are_made_once() {
    let bench = Bench::new();
    for name in ["n".repeat(64), "n".repeat(65), "n".repeat(128), "a/../b".to_owned()] {
        let first = bench.made(&name).await;
        assert_eq!(bench.another().made(&name).await, first);
    }
    let points = bench.access_points();
    assert_eq!(points.len(), 4);
    assert!(points.iter().all(|point| point.root.path.len() <= 100));
}

#[tokio::test(start_paused = true)]
async fn a_deletion_is_repeatable_and_what_was_not_made_is_deleted_already() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    bench.delete(&id).await.unwrap();
    assert_eq!(bench.access_points(), []);
    for id in [&id, FS, "reallyfakevolumeid", "efs:fs-92107410::fsap-0123456789abcdef0"] {
        bench.delete(id).await.unwrap();
    }
    assert_eq!(code(bench.delete("").await), Code::InvalidArgument);
    let again = bench.made("pvc-1").await;
    assert_ne!(again, id, "the name may come again at once");
}

#[tokio::test(start_paused = true)]
async fn wrong_requests_are_refused_by_name_and_make_nothing() {
    let bench = Bench::new();
    let unknown = [("fileSystemId", "fs-00000000")];
    for (request, part) in [
        (volume_of("pvc-1", &[("basepth", "/x")]), "basepth"),
        (volume_of("pvc-1", &[("provisioningMode", "efs-dir")]), "provisioningMode"),
        (volume_of("pvc-1", &unknown), "fileSystemId"),
        (volume_of("pvc-1", &[("gid", "1"), ("uid", "1"), unknown[0]]), "fileSystemId"),
        (volume(""), "name"),
    ] {
        let status = bench.create(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().starts_with(part), "{}", status.message());
    }
    let mut block = volume("pvc-1");
    block.volume_capabilities[0].access_type = Some(AccessType::Block(BlockVolume {}));
    assert_eq!(code(bench.create(block).await), Code::InvalidArgument);
    assert_eq!(bench.access_points(), []);
}

#[tokio::test(start_paused = true)]
async fn fixed_ids_are_kept_and_shared_and_nothing_is_listed() {
    let bench = Bench::new();
    let fixed = [("uid", "0"), ("gid", "5")];
    for name in ["pvc-1", "pvc-2"] {
        bench.create(volume_of(name, &fixed)).await.unwrap();
    }
    assert_eq!(bench.gids(), [5, 5]);
    assert_eq!(bench.calls(Action::DescribeAccessPoints), 0);
}

#[tokio::test(start_paused = true)]
async fn capabilities_are_confirmed_for_what_exists() {
    let bench = Bench::new();
    let id = bench.made("pvc-1").await;
    for id in [id.as_str(), FS] {
        assert!(bench.validate(id, capability()).await.unwrap().confirmed.is_some());
    }
    let block = csi::VolumeCapability {
        access_type: Some(AccessType::Block(BlockVolume {})),
        ..capability()
    };
    let refused = bench.validate(&id, block).await.unwrap();
    assert!(refused.confirmed.is_none() && refused.message.contains("directories"));
    for id in ["reallyfakevolumeid", "fs-00000000", "fs-92107410::fsap-00000000"] {
        assert_eq!(code(bench.validate(id, capability()).await), Code::NotFound, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_one_zone_file_system_restricts_its_volumes_on_request() {
    let bench = Bench::new();
    let id = "fs-00000001";
    bench.sim.with(|world, now| {
        let seed = FileSystemSeed {
            one_zone: Some("us-east-1b".to_owned()),
            ..FileSystemSeed::new(id, &[])
        };
        world.set_file_system(&seed, now).unwrap();
    });
    let free = bench.create(volume_of("pvc-1", &[("fileSystemId", id)])).await.unwrap();
    assert!(free.accessible_topology.is_empty());
    let pairs = [("fileSystemId", id), ("enforceZoneAffinity", "true")];
    let bound = bench.create(volume_of("pvc-2", &pairs)).await.unwrap();
    let [term] = bound.accessible_topology.try_into().unwrap();
    assert_eq!(term.segments["topology.kubernetes.io/zone"], "us-east-1b");
    let regional = bench.create(volume_of("pvc-3", &[("enforceZoneAffinity", "true")])).await;
    assert!(regional.unwrap().accessible_topology.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_operators_tags_are_set_unless_tagging_is_off() {
    let bench = Bench::new();
    let tags = parse_tags("--tags", "team:storage lone").unwrap();
    let tagged = bench.another_with(Settings { tags, ..Settings::default() });
    tagged.made("pvc-1").await;
    assert_eq!(bench.access_points()[0].tags["team"], "storage");
    let off = volume_of("pvc-2", &[("enableTagging", "false")]);
    assert_eq!(code(tagged.create(off.clone()).await), Code::InvalidArgument);
    bench.create(off).await.unwrap();
    let untagged = bench.access_points().into_iter().find(|ap| ap.client_token == "pvc-2");
    assert!(untagged.unwrap().tags.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_claim_gets_its_access_point_again_and_no_other_namespace_does() {
    let bench = Bench::new();
    let claim = |volume: &str, namespace| {
        let pairs = [
            ("reuseAccessPoint", "true"),
            ("csi.storage.k8s.io/pvc/name", "data"),
            ("csi.storage.k8s.io/pvc/namespace", namespace),
        ];
        volume_of(volume, &pairs)
    };
    let first = bench.create(claim("pvc-1", "shop")).await.unwrap().volume_id;
    let again = bench.another().create(claim("pvc-2", "shop")).await.unwrap().volume_id;
    assert_eq!(again, first);
    let other = bench.create(claim("pvc-3", "bank")).await.unwrap().volume_id;
    assert_ne!(other, first);
    let nameless = volume_of("pvc-4", &[("reuseAccessPoint", "true")]);
    assert_eq!(code(bench.create(nameless).await), Code::InvalidArgument);
}
