//! A reference model for the EBS controller: random calls by several callers on two controllers
//! over one simulated world, with faults, troubles and kills, compared with plain data after every
//! step; and a table of every AWS action with every fault.
//!
//! `CSI_MODEL_STEPS` steps over `CSI_MODEL_SEEDS` seeds from `CSI_MODEL_FIRST` on; a step is a call
//! of the Controller service. With `CSI_MODEL_SHRINK` a failing run is cut down to what it needs.

#![expect(clippy::indexing_slicing, reason = "numbers in moves are bounded where they are made")]
#![expect(clippy::expect_used, reason = "a failed step of a test is a panic")]
#![expect(clippy::print_stdout, reason = "seeds, figures and the table are to be seen")]
#![expect(
    clippy::significant_drop_tightening,
    reason = "each world runs in one thread, so a lock held to the end of a function stalls nobody"
)]

mod ask;
mod chance;
mod codes;
mod data;
mod figures;
mod judge;
mod moves;
mod port;
mod regressions;
mod rest;
mod run;
mod shrink;
mod table;
mod trouble;
mod truth;
mod wire;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sanity_tests::random::{Random, setting};

use crate::chance::{Climate, generate};
use crate::figures::Figures;
use crate::moves::Move;
use crate::run::Violation;

/// The moves of a seed.
fn moves_of(seed: u64, steps: u64) -> Vec<Move> {
    // Another sequence than the run's own, which decides on delays and deaths.
    let mut random = Random::new(seed ^ 0x6d6f_7665);
    let climate = Climate::of(&mut random);
    generate(&mut random, climate, steps)
}

/// Makes moves in a world of that seed, in paused time, in a runtime of its own.
fn replay(seed: u64, moves: &[Move], verbose: bool) -> Result<Figures, Violation> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O");
    runtime.block_on(run::run(seed, moves, verbose))
}

/// Runs one seed; what went wrong, if anything did.
fn try_seed(seed: u64, steps: u64, total: &Mutex<Figures>) -> Option<String> {
    let moves = moves_of(seed, steps);
    match replay(seed, &moves, false) {
        Ok(figures) => {
            println!("seed {seed}: {figures}");
            total.lock().expect("no panic before").add(&figures);
            None
        }
        Err(violation) => {
            let what = format!("seed {seed}, {} moves: {}", violation.moves, violation.why);
            println!("{what}");
            if setting("CSI_MODEL_SHRINK").is_some() {
                shrink::shrink(seed, &moves[..violation.moves.min(moves.len())]);
            }
            Some(what)
        }
    }
}

#[test]
fn random_calls_faults_and_kills_keep_every_promise() {
    let seeds = setting("CSI_MODEL_SEEDS").unwrap_or(10);
    let steps = setting("CSI_MODEL_STEPS").unwrap_or(10_000);
    let first = setting("CSI_MODEL_FIRST").unwrap_or(1);
    let next = AtomicU64::new(first);
    let total = Mutex::new(Figures::default());
    let failed = Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                break;
            }
            let failure = try_seed(seed, steps / seeds, &total);
            failed.lock().expect("no panic before").extend(failure);
        }
    };
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            threads.spawn(work);
        }
    });
    let total = total.into_inner().expect("no panic before");
    println!("all seeds: {total}\n{}", total.answers());
    let failed = failed.into_inner().expect("no panic before");
    assert!(failed.is_empty(), "{} of {seeds} seeds failed: {failed:?}", failed.len());
}

#[test]
fn a_seed_that_is_run_again_runs_the_same_way() {
    let moves = moves_of(5, 300);
    let first = replay(5, &moves, false).expect("no violation");
    assert_eq!(replay(5, &moves, false).expect("no violation"), first);
}
