//! `csi-controller`: reads the command line and runs the plugin. Exits with 64 for a command line that is
//! wrong, 1 if the plugin cannot start or serve, 0 after an orderly end.

use std::process::ExitCode;

use clap::Parser;
use csi_controller::args::{Args, Driver};
use csi_core::{Chain, Invalid};
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
    match args.driver {
        Driver::Ebs(ebs) => {
            telemetry::init(ebs.serve.logging_format, ebs.serve.verbosity);
            match ebs.settings() {
                Ok(settings) => ended(runtime::run(app::run_ebs(*ebs, settings))),
                Err(invalid) => refused(&invalid),
            }
        }
        Driver::Efs(efs) => {
            telemetry::init(efs.serve.logging_format, efs.verbosity());
            match efs.settings() {
                Ok(settings) => ended(runtime::run(app::run_efs(*efs, settings))),
                Err(invalid) => refused(&invalid),
            }
        }
    }
}

fn refused(invalid: &Invalid) -> ExitCode {
    error!(%invalid, "wrong command line");
    ExitCode::from(64)
}

fn ended(result: std::io::Result<Result<(), app::AppError>>) -> ExitCode {
    match result {
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
