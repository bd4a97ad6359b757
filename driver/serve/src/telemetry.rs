//! Logs: to stderr, as text or JSON, with one meaning of `--v`.

use std::panic;

use clap::ValueEnum;
use tracing::error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

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

/// Sends logs to stderr, and panics into the log.
///
/// `verbosity` counts as it does in Kubernetes: up to 3 `info`, from 4 `debug`, from 6 `trace`,
/// from 7 the libraries as well. A second call changes nothing.
pub fn init(format: LogFormat, verbosity: u8) {
    let filter = filter(verbosity);
    let stderr = || std::io::stderr();
    let lines = match format {
        LogFormat::Text => text(stderr).with_filter(filter).boxed(),
        LogFormat::Json => json(stderr).with_filter(filter).boxed(),
    };
    if tracing_subscriber::registry().with(lines).try_init().is_ok() {
        panic::set_hook(Box::new(|panic| {
            let reason = panic.payload_as_str().unwrap_or("(no text)");
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            // As a field, because only fields are escaped and an assertion has several lines.
            error!(place, reason, "panic");
        }));
    }
}

/// Lines for people.
pub(crate) fn text<W>(writer: W) -> impl Layer<Registry> + Send + Sync
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    fmt::layer().with_ansi(false).with_target(false).with_writer(writer)
}

/// Lines for machines: the event's fields at the top, those of its call under `span`.
pub(crate) fn json<W>(writer: W) -> impl Layer<Registry> + Send + Sync
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer().json().flatten_event(true);
    layer.with_current_span(true).with_span_list(false).with_writer(writer)
}

fn filter(verbosity: u8) -> Targets {
    let ours = match verbosity {
        0..=3 => LevelFilter::INFO,
        4..=5 => LevelFilter::DEBUG,
        6.. => LevelFilter::TRACE,
    };
    let libraries = if verbosity < EVERYTHING { LevelFilter::WARN } else { ours };
    Targets::new().with_default(libraries).with_target("csi_", ours).with_target("aws_sim", ours)
}
