//! Writes `docs/parameters.md` from the tables that the parsers use.

fn main() -> std::io::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/parameters.md");
    std::fs::write(path, csi_core::parameters::page::page())
}
