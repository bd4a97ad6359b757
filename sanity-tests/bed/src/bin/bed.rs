//! Boots a guest, prints how to reach it, and holds it until standard input ends.
//!
//! For looking around by hand: `cargo run --bin bed`. Tests kill it to see what is left.

use std::error::Error;
use std::io::{self, Read, Write};

use csi_bed::Bed;

fn main() -> Result<(), Box<dyn Error>> {
    let bed = Bed::boot()?;
    writeln!(io::stdout(), "ssh -F {}/ssh_config bed", bed.run_dir().display())?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
