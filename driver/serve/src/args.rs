//! The part of the command line that every plugin shares. Names and defaults are those of the
//! driver that this one replaces, where it has them.

use std::time::Duration;

use clap::Args;

use crate::endpoint::Endpoint;
use crate::http::HttpAddress;
use crate::telemetry::LogFormat;

/// How to serve and what to log.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Serving")]
pub struct ServeArgs {
    /// Where to serve CSI: `unix:///path`, a path, or for tests `tcp://IP:PORT`
    #[arg(long, env = "CSI_ENDPOINT", default_value = "unix://tmp/csi.sock")]
    pub endpoint: Endpoint,

    /// Where to serve /metrics and /healthz over HTTP: IP:PORT or :PORT; empty is nowhere
    #[arg(long, default_value = "", value_name = "ADDRESS")]
    pub http_endpoint: HttpAddress,

    /// Where to serve /healthz alone, for kubelet: IP:PORT or :PORT; empty is nowhere
    #[arg(long, default_value = "", value_name = "ADDRESS")]
    pub health_endpoint: HttpAddress,

    /// Time that calls and operations get to finish after SIGTERM
    #[arg(long, default_value = "25s", value_parser = parse_duration, value_name = "DURATION")]
    pub grace_period: Duration,

    /// Format of the log on stderr
    #[arg(long, default_value = "text", value_enum, value_name = "FORMAT")]
    pub logging_format: LogFormat,

    /// Verbosity of the log: 2 lifecycle and calls, 4 debug, 6 trace, 7 libraries too
    #[arg(short = 'v', long = "v", default_value_t = 2, value_name = "LEVEL")]
    pub verbosity: u8,
}

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration; write, for instance, 500ms, 2s or 1m30s")]
pub struct InvalidDuration {
    text: String,
}

/// Reads a duration as Go writes it, since that is what flags of Kubernetes look like: one or more
/// whole numbers with the units `h`, `m`, `s`, `ms`.
///
/// # Errors
/// [`InvalidDuration`] for anything else.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let invalid = || InvalidDuration { text: text.to_owned() };
    let mut total = Duration::ZERO;
    let mut rest = text;
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_not_a_number| invalid())?;
        let letters = unit.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = unit.split_at(letters);
        let milliseconds = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return Err(invalid()),
        };
        let part = number.checked_mul(milliseconds).map(Duration::from_millis);
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(invalid)?;
        if after.is_empty() {
            return Ok(total);
        }
        rest = after;
    }
}
