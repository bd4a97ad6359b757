//! Cuts a failing list of moves down.

use crate::moves::Move;
use crate::replay;

/// Leaves out moves as long as the rest fails too, and prints what cannot be left out.
pub(crate) fn shrink(seed: u64, moves: &[Move]) {
    let mut moves = moves.to_vec();
    let Err(first) = replay(seed, &moves, false) else { return };
    let mut size = moves.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < moves.len() {
            let mut fewer = moves.clone();
            fewer.drain(at..(at + size).min(moves.len()));
            match replay(seed, &fewer, false) {
                Err(violation) if kind(&violation.why) == kind(&first.why) => {
                    fewer.truncate(violation.moves);
                    moves = fewer;
                }
                _ => at += size,
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    println!("shrunk to {} moves:", moves.len());
    println!("{}", serde_json::to_string_pretty(&moves).unwrap_or_default());
    if let Err(violation) = replay(seed, &moves, true) {
        println!("{}", violation.why);
    }
}

/// The words of a violation, less ids and numbers, so that one failure is not taken for another.
fn kind(why: &str) -> String {
    let words = why.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    words.collect::<Vec<_>>().join(" ")
}
