//! Failures that the model found, cut down to what they need. Each is tried in worlds of several
//! seeds, since delays and lag decide too.

use csi_sim::world::{Action, FaultKind, When};

use crate::ask::Kind;
use crate::moves::{Act, Bad, From, Move, Op};
use crate::{moves_of, replay};

const SEEDS: u64 = 12;
const MADE: Op = Op::Create { name: 0, kind: Kind::Plain, from: From::Nothing };
const TAKEN: Op = Op::Snapshot { name: 0, of: 0 };

fn after(after_ms: u64, act: Act) -> Move {
    Move { after_ms, act }
}

fn call(driver: usize, op: Op) -> Act {
    Act::Call { driver, op, patience_ms: None }
}

fn left(driver: usize, op: Op, patience_ms: u64) -> Act {
    Act::Call { driver, op, patience_ms: Some(patience_ms) }
}

fn fault(action: Action, when: When, fault: FaultKind) -> Act {
    Act::Fault { action, when, fault }
}

fn refusal(code: &str) -> FaultKind {
    FaultKind::FailBefore { code: code.to_owned(), message: String::new() }
}

#[track_caller]
fn keeps_every_promise(moves: &[Move]) {
    for seed in 0..SEEDS {
        let violation = replay(seed, moves, true).err();
        let why = violation.as_ref().map(|violation| violation.why.as_str());
        assert_eq!(why, None, "seed {seed}:\n{}", why.unwrap_or_default());
    }
}

#[test]
fn regression_an_attach_whose_reply_was_lost_is_not_denied_for_good() {
    keeps_every_promise(&[
        after(0, call(0, MADE)),
        after(5_000, fault(Action::AttachVolume, When::Next, FaultKind::LoseReply)),
        after(0, fault(Action::AttachVolume, When::Next, refusal("UnauthorizedOperation"))),
        after(0, call(0, Op::Publish { name: 0, node: 0 })),
        after(20_000, call(0, Op::Get { name: 0 })),
    ]);
}

#[test]
fn regression_an_attachment_that_cannot_be_watched_is_not_given_up() {
    keeps_every_promise(&[
        after(0, call(0, MADE)),
        after(5_000, call(0, Op::Publish { name: 0, node: 0 })),
        // When the attach is answered, and before the first look.
        after(500, fault(Action::DescribeVolumes, When::Times(2), refusal("ExpiredToken"))),
        after(20_000, call(0, Op::Get { name: 0 })),
    ]);
}

#[test]
fn regression_a_refusal_is_not_the_end_of_a_creation_that_was_abandoned() {
    keeps_every_promise(&[
        after(0, left(1, MADE, 4)),
        after(100, fault(Action::CreateVolume, When::Next, refusal("ExpiredToken"))),
        after(0, call(0, MADE)),
        after(20_000, call(0, Op::Get { name: 0 })),
    ]);
}

#[test]
fn regression_a_copy_is_not_forgotten_when_its_source_is_deleted() {
    let copy = Op::Create { name: 1, kind: Kind::Anywhere, from: From::Volume(0) };
    keeps_every_promise(&[
        after(0, call(0, MADE)),
        after(5_000, left(0, copy, 100)),
        after(5_000, call(0, Op::Delete { name: 0 })),
        after(5_000, call(1, copy)),
        after(20_000, call(0, Op::Get { name: 1 })),
    ]);
}

#[test]
fn regression_a_snapshot_is_not_forgotten_when_its_volume_is_deleted() {
    keeps_every_promise(&[
        after(0, call(0, MADE)),
        after(20_000, left(0, TAKEN, 50)),
        after(100, Act::Kill { driver: 0 }),
        after(0, call(1, Op::Delete { name: 0 })),
        after(100, call(1, TAKEN)),
        after(30_000, call(1, Op::List { page: 0 })),
    ]);
}

#[test]
fn regression_a_look_that_fails_is_not_the_end_of_a_snapshot() {
    keeps_every_promise(&[
        after(0, call(0, MADE)),
        after(20_000, left(0, TAKEN, 500)),
        after(5_000, fault(Action::DescribeSnapshots, When::Times(3), refusal("NobodyKnowsThis"))),
        after(0, call(0, TAKEN)),
        after(20_000, call(0, Op::List { page: 0 })),
    ]);
}

#[test]
fn regression_a_second_snapshot_whose_maker_was_killed_ends_with_the_first() {
    for killed_after in [100, 300, 500, 700] {
        keeps_every_promise(&[
            after(0, call(0, MADE)),
            after(20_000, call(1, TAKEN)),
            after(10, call(0, TAKEN)),
            after(killed_after, Act::Kill { driver: 0 }),
            after(20_000, call(1, Op::DeleteSnapshot { name: 0 })),
        ]);
    }
}

#[test]
fn regression_a_snapshot_is_made_once_though_nothing_can_be_seen() {
    keeps_every_promise(&[
        after(0, call(0, MADE)),
        after(20_000, fault(Action::CreateSnapshot, When::Times(5), FaultKind::HangAfter)),
        after(0, call(0, TAKEN)),
        // When the name was looked up, and before the reply is missed.
        after(1_000, fault(Action::DescribeSnapshots, When::Times(4), FaultKind::HangAfter)),
        after(200_000, call(0, Op::DeleteSnapshot { name: 0 })),
    ]);
}

#[test]
fn regression_a_volume_whose_deletion_lost_its_reply_is_not_given_again() {
    let lost = FaultKind::FailAfter { code: "InternalError".to_owned(), message: String::new() };
    for again_after in [0, 200, 500, 800] {
        keeps_every_promise(&[
            after(0, call(0, MADE)),
            after(5_000, call(0, Op::Delete { name: 0 })),
            after(5_000, call(0, MADE)),
            after(20_000, fault(Action::DeleteVolume, When::Next, lost.clone())),
            after(0, call(0, Op::Delete { name: 0 })),
            after(150 + again_after, call(0, MADE)),
            after(20_000, call(0, Op::Get { name: 0 })),
        ]);
    }
}

#[test]
fn regression_a_dry_run_without_an_answer_is_not_the_end_of_a_creation() {
    let vast = Op::Create { name: 0, kind: Kind::Vast, from: From::Nothing };
    keeps_every_promise(&[
        after(0, left(0, vast, 200)),
        after(500, Act::Kill { driver: 0 }),
        after(0, fault(Action::CreateVolume, When::Times(2), FaultKind::HangBefore)),
        after(0, call(0, vast)),
        after(60_000, call(0, Op::Get { name: 0 })),
    ]);
}

#[test]
fn regression_a_repeated_creation_is_answered_when_reads_show_the_volume() {
    keeps_every_promise(&[
        after(0, Act::Trouble(Bad::Key { unusable: false })),
        after(0, left(0, MADE, 100)),
        after(400, call(1, MADE)),
        after(20, call(1, Op::Get { name: 0 })),
        after(300, call(1, Op::Modify { name: 0, iops: 3_500 })),
        after(300, call(1, Op::List { page: 1 })),
        after(300, call(1, Op::Validate { name: 0 })),
    ]);
}

/// A name whose first volume is dead, so that its token is replayed and the next one is at hand,
/// while reads do not show yet the live copy that the name has since. Takes all the moves of the
/// seed that found it: cut down, they depend on the delays too much.
#[test]
fn regression_a_name_that_a_fresh_copy_has_is_not_given_to_a_second_volume() {
    let violation = replay(1_007, &moves_of(1_007, 2_000), true).err();
    assert!(violation.is_none(), "{}", violation.map_or_else(String::new, |found| found.why));
}
