//! Runs that failed once, without the steps that had no part in it.

use std::time::Duration;

use anyhow::Result;
use sanity_tests::stand::on_shared_stand;

use crate::step::{Call, Step, Victim};
use crate::{run, settings};

fn holds(steps: &[Step]) -> Result<()> {
    on_shared_stand(settings, async |stand| run(stand, steps, Duration::MAX, &mut 0).await)
}

#[test]
fn a_volume_torn_out_twice_under_its_mounts_is_staged_and_published_over_them() -> Result<()> {
    holds(&[
        Step::Ask(Call::Stage(1)),
        Step::Ask(Call::Publish(1, 0, false)),
        Step::Write(1),
        Step::Unplug(1),
        Step::Ask(Call::Stage(1)),
        Step::Plug(1),
        Step::Ask(Call::Publish(1, 0, false)),
        Step::Ask(Call::Stage(1)),
        Step::Unplug(1),
        Step::Plug(1),
        Step::Ask(Call::Stage(1)),
        Step::Ask(Call::Publish(1, 0, false)),
        Step::Kill(Victim::Container, 20, Call::Stage(1)),
    ])
}

/// resize2fs asked through the first mount in the table, which refused because it was read-only.
#[test]
fn a_volume_whose_oldest_mount_is_read_only_grows_all_the_same() -> Result<()> {
    holds(&[
        Step::Ask(Call::Stage(0)),
        Step::Ask(Call::Publish(0, 0, true)),
        Step::Ask(Call::Unstage(0)),
        Step::Ask(Call::Stage(0)),
        Step::Grow(0),
        Step::Measure(0, 0),
    ])
}
