//! Which moves are made: random, in a climate of its own for each run.

use csi_sim::world::{Action, FaultKind, When};
use sanity_tests::random::Random;

use crate::ask::Kind;
use crate::moves::{Act, Bad, From, Move, Op};

/// Names of volumes and of snapshots. Few, so that calls meet.
const NAMES: u64 = 5;
const SNAPSHOT_NAMES: u64 = 3;

/// How rough a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Climate {
    /// One move in so many is a fault; 0 for none.
    pub(crate) faults: u64,
    /// One move in so many is a trouble; 0 for none.
    pub(crate) troubles: u64,
    /// One move in so many is a kill; 0 for none.
    pub(crate) kills: u64,
    /// One call in so many is abandoned; 0 for none.
    pub(crate) abandons: u64,
}

impl Climate {
    pub(crate) fn of(random: &mut Random) -> Self {
        let mut one_of = |choices: &[u64]| {
            let choice = random.below(u64::try_from(choices.len()).unwrap_or(1));
            choices[usize::try_from(choice).unwrap_or(0)]
        };
        Self {
            faults: one_of(&[0, 4, 8, 20]),
            troubles: one_of(&[0, 20, 60]),
            kills: one_of(&[0, 20, 60, 200]),
            abandons: one_of(&[0, 3, 6]),
        }
    }

    fn strikes(random: &mut Random, one_in: u64) -> bool {
        one_in > 0 && random.once_in(one_in)
    }
}

/// As many calls as asked for, with everything that goes wrong in between.
pub(crate) fn generate(random: &mut Random, climate: Climate, calls: u64) -> Vec<Move> {
    let mut moves = Vec::new();
    let mut left = calls;
    while left > 0 {
        let after_ms = match random.below(10) {
            0..=4 => random.below(40),
            5..=8 => random.below(2_500),
            _ => random.below(20_000),
        };
        let act = if Climate::strikes(random, climate.kills) {
            Act::Kill { driver: driver(random) }
        } else if Climate::strikes(random, climate.faults) {
            fault(random)
        } else if Climate::strikes(random, climate.troubles) {
            Act::Trouble(trouble(random))
        } else {
            left -= 1;
            let patience_ms = Climate::strikes(random, climate.abandons)
                .then(|| if random.once_in(2) { random.below(60) } else { random.below(5_000) });
            Act::Call { driver: driver(random), op: op(random), patience_ms }
        };
        moves.push(Move { after_ms, act });
    }
    moves
}

fn index(random: &mut Random, end: u64) -> usize {
    usize::try_from(random.below(end)).unwrap_or(0)
}

fn driver(random: &mut Random) -> usize {
    index(random, 2)
}

fn op(random: &mut Random) -> Op {
    let name = random.below(NAMES);
    let snapshot = random.below(SNAPSHOT_NAMES);
    let node = index(random, 3);
    let page = [0, 1, 3, 7][index(random, 4)];
    match random.below(100) {
        0..=21 => Op::Create { name, kind: Kind::ALL[index(random, 8)], from: from(random) },
        22..=23 => Op::CreateOther { name, kind: Kind::ALL[index(random, 8)] },
        24..=44 => Op::Publish { name, node },
        45..=57 => Op::Unpublish { name, node },
        58..=59 => Op::UnpublishEverywhere { name },
        60..=65 => Op::Delete { name },
        66..=70 => Op::Expand { name, gib: [15, 25, 35, 50][index(random, 4)] },
        71..=72 => Op::Tag { name, add: random.once_in(2) },
        73..=75 => Op::Modify { name, iops: [3_500, 4_500][index(random, 2)] },
        76..=83 => Op::Snapshot { name: snapshot, of: name },
        84..=88 => Op::DeleteSnapshot { name: snapshot },
        89..=91 => Op::Get { name },
        92 => Op::Validate { name },
        93..=95 => Op::List { page },
        96..=97 => Op::GetSnapshot { name: snapshot },
        _ => Op::ListSnapshots { page },
    }
}

fn from(random: &mut Random) -> From {
    match random.below(8) {
        0 => From::Volume(random.below(NAMES)),
        1 => From::Snapshot(random.below(SNAPSHOT_NAMES)),
        _ => From::Nothing,
    }
}

/// Half of the faults strike writes, of which there are fewer.
fn fault(random: &mut Random) -> Act {
    const ACTIONS: [Action; 20] = [
        Action::CreateVolume,
        Action::CreateVolume,
        Action::CopyVolumes,
        Action::DeleteVolume,
        Action::AttachVolume,
        Action::AttachVolume,
        Action::DetachVolume,
        Action::DetachVolume,
        Action::ModifyVolume,
        Action::CreateSnapshot,
        Action::CreateSnapshot,
        Action::DeleteSnapshot,
        Action::EnableFastSnapshotRestores,
        Action::CreateTags,
        Action::DeleteTags,
        Action::DescribeVolumes,
        Action::DescribeVolumes,
        Action::DescribeSnapshots,
        Action::DescribeInstances,
        Action::DescribeVolumesModifications,
    ];
    let action = ACTIONS[index(random, 20)];
    let when = match random.below(4) {
        0 | 1 => When::Next,
        2 => When::Times(2 + random.below(5)),
        _ => When::Nth(1 + random.below(3)),
    };
    Act::Fault { action, when, fault: fault_kind(random) }
}

fn fault_kind(random: &mut Random) -> FaultKind {
    let before = |code: &str| FaultKind::FailBefore { code: code.into(), message: String::new() };
    let after = |code: &str| FaultKind::FailAfter { code: code.into(), message: String::new() };
    match random.below(16) {
        0 => before("InternalError"),
        1 => before("ServiceUnavailable"),
        2 => before("UnauthorizedOperation"),
        3 => before("ExpiredToken"),
        4 => before("NobodyKnowsThis"),
        5 => after("InternalError"),
        6 => after("Unavailable"),
        7 => after("NobodyKnowsThis"),
        8 => FaultKind::LoseCall,
        9 | 10 => FaultKind::LoseReply,
        11 => FaultKind::DelayMs(random.below(12_000)),
        12 => FaultKind::HangBefore,
        13 => FaultKind::HangAfter,
        _ => FaultKind::Throttle,
    }
}

fn trouble(random: &mut Random) -> Bad {
    let node = index(random, 3);
    match random.below(10) {
        0 => Bad::StickAttaching { node, times: 1 + random.below(3) },
        1 => Bad::StickBusy { node },
        2 => Bad::HiddenDevice { node, letter: u8::try_from(random.below(4)).unwrap_or(0) },
        3 => Bad::FailModification { times: 1 + random.below(2) },
        4 | 5 => Bad::Zone { zone: index(random, 2), full: random.once_in(2) },
        6 | 7 => Bad::Quota { full: random.once_in(3) },
        _ => Bad::Key { unusable: random.once_in(2) },
    }
}
