//! A client of QEMU's machine protocol (QMP), one short connection per use.
//!
//! QEMU serves one client at a time on a socket; a lock file makes processes take turns.

use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

use crate::captured::poll;

const TURN: Duration = Duration::from_mins(1);
const ANSWER: Duration = Duration::from_secs(30);

/// Why QEMU did not do as it was told.
#[derive(Debug, Error)]
pub enum QmpError {
    /// Another process kept its turn for too long.
    #[error("QEMU is busy with another client since {TURN:?}")]
    Busy,
    /// No connection.
    #[error("cannot reach QEMU at {} (no guest is running?)", path.display())]
    Connect {
        /// The socket or its lock.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The connection broke, or QEMU said nothing for 30 s.
    #[error("QEMU did not answer {command}")]
    NoAnswer {
        /// The QMP command.
        command: String,
        /// The system's reason.
        source: io::Error,
    },
    /// QEMU refused.
    #[error("QEMU refused {command}: {reason}")]
    Refused {
        /// The QMP command.
        command: String,
        /// QEMU's words.
        reason: String,
    },
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "return")]
    answer: Option<Value>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    desc: String,
}

/// A connection; as long as it lives, no other process has one.
#[derive(Debug)]
pub(crate) struct Qmp {
    stream: BufReader<UnixStream>,
    _turn: File,
}

impl Qmp {
    /// Waits for its turn and connects to the machine of this run folder.
    pub(crate) fn open(run_dir: &Path) -> Result<Self, QmpError> {
        let path = run_dir.join("qmp.lock");
        let cannot = |path: &Path| {
            let path = path.to_owned();
            move |source| QmpError::Connect { path, source }
        };
        let turn = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(cannot(&path))?;
        poll(TURN, || match turn.try_lock() {
            Ok(()) => Ok(Some(())),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(cannot(&path)(source)),
        })?
        .ok_or(QmpError::Busy)?;
        let path = run_dir.join("qmp.sock");
        let stream = UnixStream::connect(&path).map_err(cannot(&path))?;
        stream.set_read_timeout(Some(ANSWER)).map_err(cannot(&path))?;
        stream.set_write_timeout(Some(ANSWER)).map_err(cannot(&path))?;
        let mut qmp = Self { stream: BufReader::new(stream), _turn: turn };
        // The greeting precedes; `execute` passes over it as over an event.
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Runs one command and returns its answer.
    pub(crate) fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, QmpError> {
        let lost = |source| QmpError::NoAnswer { command: command.to_owned(), source };
        let request = json!({ "execute": command, "arguments": arguments });
        self.stream.get_mut().write_all(format!("{request}\n").as_bytes()).map_err(lost)?;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).map_err(lost)? == 0 {
                return Err(lost(io::ErrorKind::UnexpectedEof.into()));
            }
            let message: Message =
                serde_json::from_str(&line).map_err(|error| lost(error.into()))?;
            if let Some(refusal) = message.error {
                return Err(QmpError::Refused {
                    command: command.to_owned(),
                    reason: refusal.desc,
                });
            }
            if let Some(answer) = message.answer {
                return Ok(answer);
            }
        }
    }
}
