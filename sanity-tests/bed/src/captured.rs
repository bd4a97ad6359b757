//! Runs a process of this host to its end within a time limit and keeps what it printed.

use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

/// Why a process could not be run to its end.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// It did not start.
    #[error("cannot start {program}")]
    Start {
        /// Its name.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
    /// It ran longer than allowed and was killed.
    #[error("{program} did not end within {limit:?} and was killed")]
    TimedOut {
        /// Its name.
        program: String,
        /// The limit.
        limit: Duration,
    },
    /// Talking to it failed.
    #[error("lost contact with {program}")]
    Lost {
        /// Its name.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
}

/// What a process left.
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Runs `command` with `input` on its standard input; kills it after `limit`.
pub(crate) fn run(
    mut command: Command,
    input: &[u8],
    limit: Duration,
) -> Result<Captured, CaptureError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| CaptureError::Start { program: program.clone(), source })?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        // A process may end without reading its input: that is no error of ours.
        scope.spawn(|| stdin.map(|mut pipe| pipe.write_all(input)));
        let stdout = scope.spawn(|| drain(stdout));
        let stderr = scope.spawn(|| drain(stderr));
        let status = wait(&mut child, limit);
        if !matches!(status, Ok(Some(_))) {
            // The pipes close with the process, so that the threads above end.
            let _ = child.kill();
            let _ = child.wait();
        }
        let status = match status {
            Ok(Some(status)) => status,
            Ok(None) => return Err(CaptureError::TimedOut { program: program.clone(), limit }),
            Err(source) => return Err(CaptureError::Lost { program: program.clone(), source }),
        };
        let lost = |source| CaptureError::Lost { program: program.clone(), source };
        let stdout = stdout.join().unwrap_or_else(|_| Ok(Vec::new())).map_err(lost)?;
        let stderr = stderr.join().unwrap_or_else(|_| Ok(Vec::new())).map_err(lost)?;
        Ok(Captured { status, stdout, stderr })
    })
}

/// Waits for the end of `child`; `None` after `limit`.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    poll(limit, || child.try_wait())
}

/// Asks `probe` every few milliseconds until it has an answer; `None` after `limit`.
pub(crate) fn poll<T, E>(
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let start = Instant::now();
    loop {
        if let Some(answer) = probe()? {
            return Ok(Some(answer));
        }
        if start.elapsed() >= limit {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn drain(pipe: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut all)?;
    }
    Ok(all)
}
