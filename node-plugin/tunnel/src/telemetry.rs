//! Logs: to stderr, as text or JSON, with the meaning of `--v` that the drivers give it.

use std::io::stderr;
use std::panic;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, registry};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// From this `--v` on, libraries speak too.
const EVERYTHING: u8 = 7;

/// Sends logs to stderr, and panics into the log. A second call changes nothing.
pub fn init(format: LogFormat, verbosity: u8) {
    let ours = match verbosity {
        0..=3 => LevelFilter::INFO,
        4..=5 => LevelFilter::DEBUG,
        6.. => LevelFilter::TRACE,
    };
    let libraries = if verbosity < EVERYTHING { LevelFilter::WARN } else { ours };
    let filter = Targets::new().with_default(libraries).with_target("efs_tunnel", ours);
    let lines = match format {
        LogFormat::Text => layer().with_ansi(false).with_target(false).with_writer(stderr).boxed(),
        LogFormat::Json => layer().json().flatten_event(true).with_writer(stderr).boxed(),
    };
    if registry().with(lines.with_filter(filter)).try_init().is_ok() {
        panic::set_hook(Box::new(|panic| {
            let reason = panic.payload_as_str().unwrap_or("(no text)");
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            tracing::error!(place, reason, "panic");
        }));
    }
}
