//! Each AWS action with each fault, seen through a call that makes it. `--nocapture` prints the
//! table.

use std::time::Duration;

use csi_controller::ebs::{EbsController, Settings};
use csi_core::ebs::AttachmentState;
use csi_sim::world::{Action, Fault, FaultKind, Settings as Pace, When, World};
use csi_sim::{Sim, SimEbs};
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use crate::ask::{Answer, GIB, Kind, NODES, Request, SnapshotClass, Source, Spec, TAG};
use crate::codes::is_final;
use crate::port::{PATIENCE, Severed};
use crate::run::sow;
use crate::truth::Truth;
use crate::wire::perform;

/// A call about the volume `pvc-1`, its copy `pvc-2` or its snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Create(Kind),
    Duplicate,
    Delete,
    Publish,
    Unpublish,
    Expand,
    Tag(bool),
    Snapshot(SnapshotClass),
    DeleteSnapshot,
    Get,
    List,
    GetSnapshot,
    ListSnapshots,
}

use Step::{
    Create, Delete, DeleteSnapshot, Duplicate, Expand, Get, GetSnapshot, List, ListSnapshots,
};
use Step::{Publish, Snapshot, Tag, Unpublish};

/// The action that is struck, what was done before, and the call.
type Case = (Action, &'static [Step], Step);

const MADE: Step = Create(Kind::Plain);
const TAKEN: Step = Snapshot(SnapshotClass::Plain);

const CASES: &[Case] = &[
    (Action::CreateVolume, &[], MADE),
    // A dry run tells first how many IOPS the zone grants.
    (Action::CreateVolume, &[], Create(Kind::Vast)),
    (Action::CopyVolumes, &[MADE], Duplicate),
    (Action::DeleteVolume, &[MADE], Delete),
    (Action::AttachVolume, &[MADE], Publish),
    (Action::DetachVolume, &[MADE, Publish], Unpublish),
    (Action::ModifyVolume, &[MADE], Expand),
    (Action::CreateSnapshot, &[MADE], TAKEN),
    (Action::DeleteSnapshot, &[MADE, TAKEN], DeleteSnapshot),
    (Action::EnableFastSnapshotRestores, &[MADE], Snapshot(SnapshotClass::Fast)),
    (Action::LockSnapshot, &[MADE], Snapshot(SnapshotClass::Locked)),
    (Action::CreateTags, &[MADE], Tag(true)),
    (Action::DeleteTags, &[MADE, Tag(true)], Tag(false)),
    (Action::DescribeVolumes, &[], MADE),
    (Action::DescribeVolumes, &[MADE], Publish),
    (Action::DescribeVolumes, &[MADE, Publish], Unpublish),
    (Action::DescribeVolumes, &[MADE], Expand),
    (Action::DescribeVolumes, &[MADE], Get),
    (Action::DescribeVolumes, &[MADE], List),
    (Action::DescribeSnapshots, &[MADE], TAKEN),
    (Action::DescribeSnapshots, &[MADE, TAKEN], GetSnapshot),
    (Action::DescribeSnapshots, &[MADE, TAKEN], ListSnapshots),
    (Action::DescribeInstances, &[MADE], Publish),
    (Action::DescribeVolumesModifications, &[MADE], Expand),
    (Action::DescribeAvailabilityZones, &[], Create(Kind::Anywhere)),
];

/// Heading, fault, the port's patience, and whether the call must succeed all the same.
type Column = (&'static str, fn() -> FaultKind, Duration, bool);

/// As if the port waited for ever.
const SILENCE: Duration = Duration::from_hours(1);

const COLUMNS: [Column; 10] = [
    (
        "fails before",
        || FaultKind::FailBefore { code: error(), message: String::new() },
        PATIENCE,
        true,
    ),
    (
        "fails after",
        || FaultKind::FailAfter { code: error(), message: String::new() },
        PATIENCE,
        true,
    ),
    ("call lost", || FaultKind::LoseCall, PATIENCE, true),
    ("reply lost", || FaultKind::LoseReply, PATIENCE, true),
    ("3 s late", || FaultKind::DelayMs(3_000), PATIENCE, true),
    ("throttled", || FaultKind::Throttle, PATIENCE, true),
    ("hangs before", || FaultKind::HangBefore, PATIENCE, true),
    ("hangs after", || FaultKind::HangAfter, PATIENCE, true),
    ("silent before", || FaultKind::HangBefore, SILENCE, false),
    ("silent after", || FaultKind::HangAfter, SILENCE, false),
];

fn error() -> String {
    "InternalError".to_owned()
}

struct Table {
    sim: Sim,
    driver: EbsController<Severed>,
    volume: String,
    snapshot: String,
}

impl Table {
    fn new(patience: Duration) -> Self {
        let sim = Sim::new(World::new(Pace::ec2(), 7));
        sow(&sim);
        let port = Severed::new(SimEbs::new(sim.clone()), patience, 7);
        let settings = Settings { list_volumes: true, ..Settings::default() };
        let driver = EbsController::new(port, settings);
        Self { sim, driver, volume: String::new(), snapshot: String::new() }
    }

    fn request(&self, step: Step) -> Request {
        let (volume, snapshot) = (self.volume.clone(), self.snapshot.clone());
        let node = NODES[0].0.to_owned();
        match step {
            Create(kind) => {
                Request::Create { name: "pvc-1".to_owned(), spec: Spec { kind, source: None } }
            }
            Duplicate => {
                let spec = Spec { kind: Kind::Anywhere, source: Some(Source::Volume(volume)) };
                Request::Create { name: "pvc-2".to_owned(), spec }
            }
            Delete => Request::Delete { volume },
            Publish => Request::Publish { volume, node, shared: false },
            Unpublish => Request::Unpublish { volume, node: Some(node) },
            Expand => Request::Expand { volume, gib: 20 },
            Tag(add) => Request::Tag { volume, add },
            Snapshot(class) => Request::Snapshot { name: "snapshot-1".to_owned(), volume, class },
            DeleteSnapshot => Request::DeleteSnapshot { snapshot },
            Get => Request::Get { volume },
            List => Request::List { page: 0 },
            GetSnapshot => Request::GetSnapshot { snapshot },
            ListSnapshots => Request::ListSnapshots { page: 0 },
        }
    }

    async fn take(&mut self, step: Step) -> Result<Answer, Status> {
        let answer = perform(&self.driver, self.request(step)).await?;
        match (&answer, step) {
            (Answer::Volume { id, .. }, Create(_)) => self.volume.clone_from(id),
            (Answer::Snapshot { id, .. }, _) => self.snapshot.clone_from(id),
            _ => {}
        }
        Ok(answer)
    }

    /// Whether the step took effect, once.
    fn holds(&self, step: Step) -> bool {
        let Truth { volumes, snapshots } = Truth::of(&self.sim);
        let volume = volumes.values().find(|volume| volume.id.as_str() == self.volume);
        let has = |test: &dyn Fn(&csi_core::ebs::Volume) -> bool| volume.is_some_and(test);
        match step {
            Create(_) => volumes.len() == 1 && volume.is_some(),
            Duplicate => volumes.len() == 2,
            Delete => volumes.is_empty(),
            Publish => has(&|volume| {
                let states: Vec<_> = volume.attachments.iter().map(|found| found.state).collect();
                states == [AttachmentState::Attached]
            }),
            Unpublish => has(&|volume| volume.attachments.is_empty()),
            Expand => has(&|volume| volume.size.bytes().to_csi() == 20 * GIB),
            Tag(add) => has(&|volume| volume.tags.contains_key(TAG.0) == add),
            Snapshot(_) => snapshots.len() == 1 && snapshots.contains_key(&self.snapshot),
            DeleteSnapshot => snapshots.is_empty(),
            Get | List | GetSnapshot | ListSnapshots => volumes.len() == 1,
        }
    }

    fn calls(&self, action: Action) -> u64 {
        self.sim.with(|world, _| world.calls(action))
    }
}

/// Strikes one call, and tells code, calls of the action and seconds.
async fn cell(
    &(action, before, step): &Case,
    &(heading, fault, patience, resolved): &Column,
) -> String {
    let at = format!("{action:?} {step:?} {heading}");
    let mut table = Table::new(patience);
    for step in before {
        table.take(*step).await.expect("nothing goes wrong yet");
        sleep(Duration::from_secs(2)).await;
    }
    // So that neither the process nor what it listed is young.
    sleep(Duration::from_secs(20)).await;
    let fault = Fault { action: Some(action), when: When::Next, fault: fault() };
    table.sim.with(|world, _| world.add_fault(fault));
    let calls = table.calls(action);
    let began = Instant::now();
    let answer = table.take(step).await;
    let took = began.elapsed();
    let calls = table.calls(action) - calls;
    let struck =
        table.sim.with(|world, _| world.faults().iter().map(|fault| fault.struck).sum::<u64>());
    assert_eq!(struck, 1, "{at}: it never struck");

    let request = table.request(step);
    assert!(took <= Duration::from_secs(request.bound_secs()), "{at}: took {took:?}");
    let code = answer.as_ref().err().map_or(Code::Ok, Status::code);
    if resolved {
        assert_eq!(code, Code::Ok, "{at}: {answer:?}");
    } else {
        assert!(code == Code::Ok || !is_final(&request, code), "{at}: {answer:?}");
    }
    if code != Code::Ok {
        // As a CO does, and longer than the driver spares EC2.
        sleep(Duration::from_mins(1)).await;
        let again = table.take(step).await;
        assert!(again.is_ok(), "{at}, again: {again:?}");
    }
    assert!(table.holds(step), "{at}: {:?}", Truth::of(&table.sim));
    format!("{code:?} ×{calls} {:.1} s", took.as_secs_f64())
}

#[tokio::test(start_paused = true)]
async fn one_fault_at_any_action_is_resolved_inside_the_call_or_left_open_and_takes_effect_once() {
    let headings: Vec<_> = COLUMNS.iter().map(|(heading, ..)| *heading).collect();
    println!("| AWS action | call | {} |", headings.join(" | "));
    println!("|---|---|{}", "---|".repeat(headings.len()));
    for case in CASES {
        let mut cells = Vec::new();
        for column in &COLUMNS {
            cells.push(cell(case, column).await);
        }
        println!("| {:?} | {:?} | {} |", case.0, case.2, cells.join(" | "));
    }
}
