//! Every plan can be cut after any step and made again; no request makes the parser panic.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::apply::apply;
use crate::kernel::Kernel;
use crate::plan;

/// One call of a volume's life.
#[derive(Debug, Clone, Copy)]
enum Call {
    Stage,
    Publish(bool),
    Unpublish,
    Unstage,
}

/// Plans the call and takes only the first `steps` of it; says whether that was all.
fn begin(kernel: &Fake, call: Call, fs: &str, block: bool, steps: usize) -> bool {
    let stage = stage_request(fs, &[]);
    let publish_as = |readonly| {
        publish_request((!block).then_some(fs), TARGET, readonly, Mode::SingleNodeWriter)
    };
    let (pin, plan) = match call {
        Call::Stage => {
            let (disk, pin) = observe::find(kernel, &stage.wanted, &stage.path).unwrap();
            let seen = observe::stage(kernel, disk, &pin, &stage.path).unwrap();
            (Some(pin), plan::stage::plan(&seen, stage.file_system.as_ref().unwrap()).unwrap())
        }
        Call::Publish(readonly) => {
            let want = publish_as(readonly);
            let (disk, pin) = observe::find(kernel, &want.wanted, &want.target).unwrap();
            let source = &want.publish.source;
            let seen = observe::publish(kernel, &disk, source, &want.target).unwrap();
            (Some(pin), plan::publish::plan(&seen, &want.publish).unwrap())
        }
        Call::Unpublish | Call::Unstage => {
            let path = if matches!(call, Call::Unstage) { STAGING } else { TARGET };
            let place = observe::place(kernel, Path::new(path)).unwrap();
            let beside = observe::place(kernel, &plan::antechamber(&place.path)).unwrap();
            (None, plan::unmount::plan(&[&beside, &place]).unwrap())
        }
    };
    let whole = steps >= plan.len();
    apply(kernel, pin.as_ref(), plan.into_iter().take(steps).collect()).is_ok() && whole
}

proptest! {
    #[test]
    fn calls_cut_after_any_step_and_repeated_end_as_calls_that_were_not(
        fs in prop::sample::select(vec!["ext4", "ext3", "xfs"]),
        block in any::<bool>(),
        readonly in any::<bool>(),
        grow in any::<bool>(),
        cuts in prop::collection::vec((0_usize..8, any::<bool>()), 0..12),
    ) {
        let (cut, whole) = (Fake::new(blank()), Fake::new(blank()));
        let mut cuts = cuts.into_iter();
        let mut unfinished_xfs = 0;
        let calls = [Call::Stage, Call::Publish(readonly), Call::Unpublish, Call::Unstage, Call::Stage];
        for (index, call) in calls.into_iter().enumerate() {
            // Not within a call: the marker of an unfinished mkfs would stand at the old end, and
            // what is found then is refused, not formatted.
            if grow && index == 4 {
                for kernel in [&cut, &whole] {
                    kernel.state().disks[0].size = Bytes(20 << 30);
                }
            }
            if let Some((steps, tear)) = cuts.next() {
                cut.state().tear_mkfs = tear;
                begin(&cut, call, fs, block, steps);
                cut.state().tear_mkfs = false;
                let disk = cut.snapshot().disks[0].clone();
                let probe = cut.probe(&disk, false).unwrap();
                let done = matches!(probe.content, Content::FileSystem(_));
                unfinished_xfs += usize::from(fs == "xfs" && done && probe.marker);
            }
            prop_assert!(begin(&cut, call, fs, block, usize::MAX));
            prop_assert!(begin(&whole, call, fs, block, usize::MAX));
            let (mut cut, mut whole) = (cut.snapshot(), whole.snapshot());
            // An XFS that was finished but not yet reported as made is made again: unlike mke2fs,
            // mkfs.xfs does not sync everything before it declares the file system whole. Nobody
            // has ever mounted such a one.
            if let Some(formats) = cut.formats.get_mut("nvme1n1") {
                *formats -= unfinished_xfs;
            }
            // A file system made on the grown disk needs no growth but is smaller by the marker.
            for state in [&mut cut, &mut whole] {
                state.grown = 0;
                let size = state.disks[0].size;
                if let Some(Probe { content: Content::FileSystem(found), .. }) =
                    state.probes.get_mut("nvme1n1")
                {
                    prop_assert!(!found.grows_on(size), "not grown: {found:?}");
                    found.size = size;
                }
            }
            prop_assert_eq!(cut, whole);
        }
    }

    #[test]
    fn random_requests_never_panic(
        id in ".{0,20}|vol-0123456789abcdef0",
        path in "(/|[a-z.]|\\PC){0,12}",
        key in "(blocksize|partition|ext4bigalloc)",
        value in ".{0,6}",
        mode in -1..9,
    ) {
        let mut capability = capability(Some("ext4"), &[&value], Mode::Unknown);
        capability.access_mode = Some(AccessMode { mode });
        let context: std::collections::BTreeMap<_, _> = [(key, value)].into();
        let parsed = Stage::parse(&csi::NodeStageVolumeRequest {
            volume_id: id.clone(),
            staging_target_path: path.clone(),
            volume_capability: Some(capability),
            volume_context: context,
            ..csi::NodeStageVolumeRequest::default()
        }, false);
        if let Ok(stage) = parsed {
            prop_assert!(stage.path.is_absolute() && stage.path.parent().is_some());
            prop_assert_eq!(stage.wanted.volume.to_string(), id);
        }
    }
}
