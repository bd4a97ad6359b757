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

    /// Where to serve /metrics, /healthz and /readyz over HTTP: IP:PORT or :PORT; empty is nowhere
    #[arg(long, default_value = "", value_name = "ADDRESS")]
    pub http_endpoint: HttpAddress,

    /// Where to serve /healthz and /readyz alone, for kubelet: IP:PORT or :PORT; empty is nowhere
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn parse(args: &[&str]) -> Result<ServeArgs, clap::Error> {
        Command::try_parse_from(["test"].iter().chain(args)).map(|command| command.serve)
    }

    #[test]
    fn the_defaults_are_those_of_the_driver_that_is_replaced() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.endpoint.to_string(), "unix:///tmp/csi.sock");
        assert_eq!(args.http_endpoint, HttpAddress::Nowhere);
        assert_eq!(args.health_endpoint, HttpAddress::Nowhere);
        assert_eq!(args.logging_format, LogFormat::Text);
        assert_eq!((args.verbosity, args.grace_period), (2, Duration::from_secs(25)));
    }

    #[test]
    fn flags_are_spelled_as_charts_spell_them() {
        let args = ["--endpoint=unix:/csi/csi.sock", "--logging-format=json", "--v=4"];
        let args = parse(&[&args[..], &["--http-endpoint=:3301", "--grace-period=1m"]].concat());
        let args = args.unwrap();
        assert_eq!(args.endpoint.to_string(), "unix:///csi/csi.sock");
        assert_eq!(args.logging_format, LogFormat::Json);
        assert_eq!((args.verbosity, args.grace_period), (4, Duration::from_mins(1)));
        let both = ["[::]:3301", "0.0.0.0:3301"].map(|address| address.parse().unwrap());
        assert_eq!(args.http_endpoint, HttpAddress::At(both.to_vec()));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_the_rule() {
        for (flag, rule) in [
            ("--http-endpoint=nowhere", "write IP:PORT, localhost:PORT, :PORT or nothing"),
            ("--endpoint=csi.sock", "use unix:///path, an absolute path, or tcp://IP:PORT"),
            ("--grace-period=soon", "write, for instance, 500ms, 2s or 1m30s"),
        ] {
            let error = parse(&[flag]).unwrap_err().to_string();
            assert!(error.contains(rule), "{error}");
        }
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let read = |text| parse_duration(text).ok().map(|time| time.as_millis());
        assert_eq!(read("2s"), Some(2_000));
        assert_eq!(read("1m30s"), Some(90_000));
        assert_eq!(read("1h500ms"), Some(3_600_500));
        for text in ["", "5", "s", "1.5s", "-1s", "1d", "2s ", "99999999999999999999s"] {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(read("18446744073709551615h"), None, "no overflow");
    }
}
