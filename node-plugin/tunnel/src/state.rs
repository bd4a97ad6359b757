//! What survives a crash: which port belongs to which identity. The kernel's mounts name the port,
//! so after a crash each identity must have the same one again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::identity::{Identity, Target};
use crate::private_file;

const FILE: &str = "efs-tunnel.json";
const VERSION: u32 = 1;
/// It changes at each start of the machine, which ends all mounts.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The file in its folder.
#[derive(Debug, Clone)]
pub(crate) struct StateFile {
    folder: PathBuf,
}

/// One port of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) port: u16,
    pub(crate) identity: Identity,
    #[serde(default)]
    pub(crate) failover: Vec<Target>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    version: u32,
    boot_id: String,
    ports: Vec<Entry>,
}

/// Why the state is not read or not written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file or its folder cannot be used.
    #[error("the state {}: {doing} failed", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not ours. It is not overwritten: live mounts may depend on it.
    #[error("the state {} cannot be understood; a newer version may have written it", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The file is of a later version.
    #[error("the state {} has version {version}; this program knows {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

impl StateFile {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// The ports of this run of the machine; those of an earlier one have no mounts any more.
    pub(crate) fn load(&self) -> Result<Vec<Entry>, StateError> {
        let text = match fs::read(self.path()) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.failed("reading it", source)),
        };
        let version: Version = serde_json::from_slice(&text).map_err(|error| self.format(error))?;
        if version.version > VERSION {
            return Err(StateError::Version { path: self.path(), version: version.version });
        }
        let content: Content = serde_json::from_slice(&text).map_err(|error| self.format(error))?;
        let boot_id = self.boot_id()?;
        Ok(if content.boot_id == boot_id { content.ports } else { Vec::new() })
    }

    /// Replaces the file; a crash leaves the old one or the new one.
    pub(crate) fn save(&self, ports: Vec<Entry>) -> Result<(), StateError> {
        let content = Content { version: VERSION, boot_id: self.boot_id()?, ports };
        let mut text = serde_json::to_vec(&content).map_err(|error| self.format(error))?;
        text.push(b'\n');
        self.replace(&text).map_err(|source| self.failed("writing it", source))
    }

    fn replace(&self, text: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let new = self.folder.join(format!(".{FILE}.new"));
        private_file::write(&new, text)?.sync_all()?;
        fs::rename(&new, self.path())?;
        File::open(&self.folder)?.sync_all()
    }

    fn boot_id(&self) -> Result<String, StateError> {
        let id = fs::read_to_string(BOOT_ID)
            .map_err(|source| self.failed("finding the machine's boot id", source))?;
        Ok(id.trim().to_owned())
    }

    /// The thread that wrote it ended before it was done.
    pub(crate) fn interrupted(
        &self,
        cause: impl std::error::Error + Send + Sync + 'static,
    ) -> StateError {
        self.failed("writing it", io::Error::other(cause))
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> StateError {
        StateError::File { path: self.path(), doing, source }
    }

    fn format(&self, source: serde_json::Error) -> StateError {
        StateError::Format { path: self.path(), source }
    }
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(port: u16) -> Entry {
        Entry {
            port,
            identity: Identity {
                file_system: "fs-92107410".parse().unwrap(),
                access_point: None,
                region: "eu-central-1".parse().unwrap(),
                target: "10.0.0.1".parse().unwrap(),
                tls: None,
            },
            failover: vec!["10.0.1.1".parse().unwrap()],
        }
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFile::new(folder.path());
        assert_eq!(state.load().unwrap(), []);
        state.save(vec![entry(20_049), entry(20_050)]).unwrap();
        assert_eq!(state.load().unwrap(), [entry(20_049), entry(20_050)]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn after_a_reboot_no_port_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFile::new(folder.path());
        let content = Content { version: 1, boot_id: "earlier".to_owned(), ports: vec![entry(1)] };
        fs::write(state.path(), serde_json::to_vec(&content).unwrap()).unwrap();
        assert_eq!(state.load().unwrap(), []);
    }

    #[test]
    fn a_file_of_a_later_version_or_of_someone_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFile::new(folder.path());
        fs::write(state.path(), "{\"version\":2,\"anything\":[]}").unwrap();
        assert!(matches!(state.load(), Err(StateError::Version { version: 2, .. })));
        fs::write(state.path(), "torn").unwrap();
        assert!(matches!(state.load(), Err(StateError::Format { .. })));
    }
}
