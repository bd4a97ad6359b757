//! What this plugin asked the tunnel for, on disk: one small file per port. If the tunnel forgets a
//! port that a mount needs, it is made again from here, also after this plugin was restarted.
//!
//! The files hold no secret: identities name where credentials come from, not the credentials.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use efs_tunnel::control::Ensure;
use tracing::warn;

/// End of the names of the files.
const SUFFIX: &str = ".json";

/// The records, in memory and in a folder.
#[derive(Debug)]
pub struct Records {
    folder: PathBuf,
    known: Mutex<BTreeMap<u16, Ensure>>,
}

/// A record cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{call} {}", path.display())]
pub struct RecordError {
    call: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed(call: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecordError {
    let path = path.to_owned();
    move |source| RecordError { call, path, source }
}

impl Records {
    /// Reads the records of a folder, and makes it if it is not there. A file that is no record is
    /// told and left alone.
    ///
    /// # Errors
    /// If the folder cannot be made or listed.
    pub fn open(folder: PathBuf) -> Result<Self, RecordError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(failed("mkdir", &folder))?;
        let mut known = BTreeMap::new();
        for entry in fs::read_dir(&folder).map_err(failed("list", &folder))? {
            let path = entry.map_err(failed("list", &folder))?.path();
            let Some(port) = port_of(&path) else { continue };
            match read(&path) {
                Ok(record) => drop(known.insert(port, record)),
                Err(error) => warn!(path = %path.display(), %error, "not a record; left alone"),
            }
        }
        Ok(Self { folder, known: Mutex::new(known) })
    }

    /// What is asked for at each port.
    #[must_use]
    pub fn all(&self) -> BTreeMap<u16, Ensure> {
        self.lock().clone()
    }

    /// What is asked for at a port.
    #[must_use]
    pub fn get(&self, port: u16) -> Option<Ensure> {
        self.lock().get(&port).cloned()
    }

    /// Writes the record of a port, whole or not at all.
    ///
    /// # Errors
    /// If the file cannot be written; what was known of the port stays.
    pub fn put(&self, port: u16, record: Ensure) -> Result<(), RecordError> {
        // One writer at a time: they would take each other's new file away.
        let mut known = self.lock();
        if known.get(&port) == Some(&record) {
            return Ok(());
        }
        let (path, new) = (self.path(port), self.folder.join(format!("{port}.new")));
        let text = serde_json::to_vec(&record).map_err(io::Error::from);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&new).and_then(|mut file| {
            file.write_all(&text?)?;
            file.sync_all()?;
            fs::rename(&new, &path)
        });
        written.map_err(failed("write", &path))?;
        known.insert(port, record);
        drop(known);
        Ok(())
    }

    /// Forgets a port.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn remove(&self, port: u16) -> Result<(), RecordError> {
        let path = self.path(port);
        let mut known = self.lock();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &path)(error))
            }
            _ => {
                known.remove(&port);
                drop(known);
                Ok(())
            }
        }
    }

    fn path(&self, port: u16) -> PathBuf {
        self.folder.join(format!("{port}{SUFFIX}"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u16, Ensure>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn port_of(path: &Path) -> Option<u16> {
    path.file_name()?.to_str()?.strip_suffix(SUFFIX)?.parse().ok()
}

fn read(path: &Path) -> io::Result<Ensure> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::efs::tests::tunnel::ensure;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn records_outlive_the_process_and_only_root_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        let records = Records::open(path.clone()).unwrap();
        records.put(20_049, ensure("fs-92107410")).unwrap();
        records.put(20_050, ensure("fs-92107411")).unwrap();
        records.remove(20_050).unwrap();
        records.remove(20_050).unwrap();
        fs::write(path.join("20051.json"), "{").unwrap();

        let again = Records::open(path.clone()).unwrap();
        assert_eq!(again.all(), BTreeMap::from([(20_049, ensure("fs-92107410"))]));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("20049.json"))), (0o700, 0o600));
        assert!(path.join("20051.json").exists(), "what is no record is left alone");
    }

    #[test]
    fn many_may_write_the_same_record_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path().to_owned()).unwrap();
        std::thread::scope(|scope| {
            for i in 0..8 {
                let records = &records;
                scope.spawn(move || {
                    for j in 0..50 {
                        let port = Some(i * 50 + j);
                        records.put(20_049, Ensure { port, ..ensure("fs-92107410") }).unwrap();
                    }
                });
            }
        });
        assert_eq!(Records::open(folder.path().to_owned()).unwrap().all(), records.all());
    }
}
