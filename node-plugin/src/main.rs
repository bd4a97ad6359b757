//! `csi-node`: reads the command line and runs the plugin. Exits with 64 for a command line that is
//! wrong, 1 if the plugin cannot start or serve, 0 after an orderly end.

use std::process::ExitCode;

use clap::Parser;
use csi_core::Chain;
use csi_node::args::{Args, Command};
use csi_serve::{runtime, telemetry};
use tracing::error;

mod app;

/// What the hook says, it says at the level of the lifecycle.
const HOOK_VERBOSITY: u8 = 2;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // If the message cannot be printed, there is nowhere to say so.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    match &args.command {
        Command::Ebs(ebs) => telemetry::init(ebs.serve.logging_format, ebs.serve.verbosity),
        Command::Efs(efs) => telemetry::init(efs.serve.logging_format, efs.serve.verbosity),
        Command::PreStopHook(hook) => telemetry::init(hook.logging_format, HOOK_VERBOSITY),
    }
    match runtime::run(app::run(args)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            error!(error = %Chain(&error), "ended");
            ExitCode::from(if matches!(error, app::AppError::Flags(_)) { 64 } else { 1 })
        }
        Err(error) => {
            error!(%error, "no runtime");
            ExitCode::FAILURE
        }
    }
}
