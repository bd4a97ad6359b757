//! Compiles the `.proto` files of this folder, without `protoc`, into messages, clients and
//! servers, and derives from the same descriptors what must never lag behind them: a `Debug`
//! without secrets (`redact.rs`) and the list of calls (`rpc.rs`).

mod redact;
mod rpc;

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use protox::Compiler;

const FILES: [&str; 3] = ["csi.proto", "modify.proto", "pluginregistration.proto"];

#[expect(clippy::print_stdout, reason = "this is how a build script talks to cargo")]
fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    println!("cargo::rerun-if-changed=build");
    let out: OsString = std::env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?;
    let out = PathBuf::from(out);

    let mut compiler = Compiler::new(["."])?;
    compiler.open_files(FILES)?;

    // Encoded by protox itself: prost's descriptor types drop options they do not know, and
    // `csi_secret` is one of those. Imports make the set complete in itself.
    compiler.include_imports(true).include_source_info(false);
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    let pool = compiler.descriptor_pool();
    fs::write(out.join("rpc.rs"), rpc::source(&pool)?)?;
    let secretive = redact::secretive(&pool)?;
    fs::write(out.join("redact.rs"), redact::source(&secretive)?)?;
    fs::write(out.join("types.rs"), redact::by_name(&pool)?)?;

    // Source information carries the comments that become documentation.
    compiler.include_source_info(true);
    tonic_prost_build::configure()
        .build_transport(false)
        .generate_default_stubs(true)
        // Ordered maps, so that two logs or encodings of one message are the same.
        .btree_map(".")
        .skip_debug(secretive.iter().map(|m| format!(".{}", m.full_name())))
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
