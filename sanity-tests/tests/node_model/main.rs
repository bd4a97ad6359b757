//! A model of the node: random calls of kubelet's, faults, kills and reboots in the guest. After
//! each step all mounts, the content of a volume and the runs of mkfs are compared with plain data.
//!
//! `CSI_SEED` repeats a run, `CSI_STEPS` sets the length of one, `CSI_RUNS` their number (with the
//! seeds that follow). `CSI_SHRINK` looks, for so many minutes, for a shorter list of steps that
//! fails. Without them there is one run, which is cut off after [`BUDGET`].
#![expect(clippy::print_stdout, reason = "the figures belong into the log of a run")]

mod look;
mod regressions;
mod step;
mod truth;
mod world;

use std::time::Duration;

use anyhow::{Context, Result};
use sanity_tests::random::{Random, seed, setting};
use sanity_tests::stand::{Settings, Stand, on_shared_stand};
use tokio::time::Instant;

use step::{Call, Step, V};
use world::World;

/// Length of a run by default: what a minute allows on a quiet machine.
const STEPS: u64 = 150;
const BUDGET: Duration = Duration::from_secs(40);

fn settings() -> Settings {
    // Calls for disks that are not there are many.
    Settings { node_arguments: &["--device-timeout=300ms"], ..Settings::quick() }
}

#[test]
fn a_node_under_random_calls_faults_kills_and_reboots_mounts_formats_and_keeps_what_it_must()
-> Result<()> {
    let (seed, steps) = (seed(), setting("CSI_STEPS"));
    for seed in (seed..).take(usize::try_from(setting("CSI_RUNS").unwrap_or(1))?) {
        let mut random = Random::new(seed);
        let plan: Vec<Step> =
            (0..steps.unwrap_or(STEPS)).map(|_| step::next(&mut random)).collect();
        let budget = if steps.is_some() { Duration::MAX } else { BUDGET };
        let mut taken = 0;
        let outcome =
            on_shared_stand(settings, async |stand| run(stand, &plan, budget, &mut taken).await);
        if let Err(error) = outcome {
            let steps = shrink(&plan[..taken]);
            return Err(error.context(format!("CSI_SEED={seed}, after {taken} steps: {steps:?}")));
        }
    }
    Ok(())
}

/// Takes the steps, as many as fit into the budget, and looks after each.
async fn run(stand: &Stand, plan: &[Step], budget: Duration, taken: &mut usize) -> Result<()> {
    let started = Instant::now();
    let mut world = World::new(stand)?;
    for (number, step) in plan.iter().enumerate() {
        if started.elapsed() > budget {
            break;
        }
        *taken = number + 1;
        let done = async {
            world.step(*step).await?;
            world.look(touched(*step))
        };
        done.await.with_context(|| format!("step {number}, {step:?}"))?;
    }
    world.end().await?;
    let kills = plan.iter().take(*taken).filter(|step| matches!(step, Step::Kill(..))).count();
    println!("node model: {taken} steps, {kills} of them kills, {:.1?}", started.elapsed());
    Ok(())
}

/// The volume that a step is about.
fn touched(step: Step) -> V {
    match step {
        Step::Ask(call) | Step::Kill(_, _, call) => match call {
            Call::Stage(v) | Call::Unstage(v) | Call::Publish(v, ..) | Call::Unpublish(v, _) => v,
        },
        Step::Measure(v, _)
        | Step::Write(v)
        | Step::Grow(v)
        | Step::Plug(v)
        | Step::Unplug(v)
        | Step::Spoil(v)
        | Step::Clean(v)
        | Step::Hold(v)
        | Step::Release(v)
        | Step::Break(v)
        | Step::Heal(v)
        | Step::Mislead(v)
        | Step::Lead(v) => v,
    }
}

/// Leaves out steps as long as what is left still fails.
fn shrink(plan: &[Step]) -> Vec<Step> {
    let mut steps = plan.to_vec();
    let budget = Duration::from_mins(setting("CSI_SHRINK").unwrap_or(0));
    let started = Instant::now();
    let mut length = steps.len() / 2;
    while length > 0 {
        let mut from = 0;
        while from < steps.len() {
            if started.elapsed() > budget {
                return steps;
            }
            let mut fewer = steps.clone();
            fewer.drain(from..(from + length).min(steps.len()));
            if fails(&fewer) {
                steps = fewer;
            } else {
                from += length;
            }
        }
        length /= 2;
    }
    steps
}

fn fails(steps: &[Step]) -> bool {
    let mut taken = 0;
    on_shared_stand(settings, async |stand| run(stand, steps, Duration::MAX, &mut taken).await)
        .is_err()
}
