//! `csi-controller`: reads the command line and runs the plugin. Exits with 64 for a command line that is
//! wrong, 1 if the plugin cannot start or serve, 0 after an orderly end.

use std::process::ExitCode;

use clap::Parser;
use csi_controller::args::{Args, Driver};
use csi_core::Chain;
use csi_serve::{runtime, telemetry};
use tracing::error;

mod app;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // If the message cannot be printed, there is nowhere to say so.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    let Driver::Ebs(ebs) = args.driver;
    telemetry::init(ebs.serve.logging_format, ebs.serve.verbosity);
    let settings = match ebs.settings() {
        Ok(settings) => settings,
        Err(invalid) => {
            error!(%invalid, "wrong command line");
            return ExitCode::from(64);
        }
    };
    match runtime::run(app::run_ebs(*ebs, settings)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            error!(error = %Chain(&error), "ended");
            ExitCode::FAILURE
        }
        Err(error) => {
            error!(%error, "no runtime");
            ExitCode::FAILURE
        }
    }
}
