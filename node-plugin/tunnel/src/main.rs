//! `efs-tunnel`: reads the command line and runs what it says. Exits with 64 for a command line that
//! is wrong, 1 if it cannot serve or is not healthy, 0 after an orderly end.

use std::env::args_os;
use std::io::{Write, stdout};
use std::process::ExitCode;

use clap::Parser;
use efs_tunnel::args::{Args, Command, ServeArgs, SocketArgs};
use efs_tunnel::control::{Client, ClientError};
use efs_tunnel::{chain, supervisor, telemetry, worker};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // If the message cannot be printed, there is nowhere to say so.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    match args.command {
        Command::Serve(serve) => {
            start(&serve);
            ended(supervisor::run(&serve.supervisor(args_os().skip(1))))
        }
        Command::Worker(serve) => {
            start(&serve);
            ended(worker::run(serve.worker()))
        }
        Command::Health(socket) => answered(ask(&socket, health)),
        Command::List(socket) => answered(ask(&socket, list)),
    }
}

fn start(serve: &ServeArgs) {
    telemetry::init(serve.logging_format, serve.verbosity);
}

fn ended(end: Result<(), impl std::error::Error + 'static>) -> ExitCode {
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %chain(&error), "ended");
            ExitCode::FAILURE
        }
    }
}

/// What is printed, and whether it is good.
type Answer = Result<(String, bool), ClientError>;

async fn health(client: Client) -> Answer {
    let health = client.health().await?;
    Ok((serde_json::to_string(&health).unwrap_or_default(), health.is_ready_here()))
}

async fn list(client: Client) -> Answer {
    let ports = client.list().await?;
    Ok((serde_json::to_string_pretty(&ports).unwrap_or_default(), true))
}

fn ask<F: Future<Output = Answer>>(socket: &SocketArgs, question: fn(Client) -> F) -> Answer {
    let client = Client::new(&socket.control_socket);
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(question(client)),
        Err(source) => {
            Err(ClientError::Unreachable { socket: socket.control_socket.clone(), source })
        }
    }
}

fn answered(answer: Answer) -> ExitCode {
    let (text, good) = match answer {
        Ok(answer) => answer,
        Err(error) => (chain(&error), false),
    };
    let printed = writeln!(stdout(), "{text}");
    ExitCode::from(u8::from(!good || printed.is_err()))
}
