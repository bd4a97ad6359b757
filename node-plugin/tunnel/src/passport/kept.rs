//! Certificates on disk, one file for each port. A worker that is started again shows the certificate
//! of the one that died: it spends no time on a new one, asks nobody for credentials, and goes on
//! while the source of credentials is away.
//!
//! The files hold what is shown to mount targets, the token of a session with it, so root alone reads
//! them. They are written beside the work: one that is lost is made again.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::private_file;

const SUFFIX: &str = ".json";

/// A certificate, with what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    identity: Identity,
    /// SHA-1 of the key that it belongs to, in hex.
    key: String,
    /// Milliseconds since 1970.
    at: i64,
    serial: u64,
    /// In hex.
    certificate: String,
}

impl Kept {
    pub(super) fn new(
        identity: &Identity,
        key: &[u8],
        at: Timestamp,
        serial: u64,
        certificate: &[u8],
    ) -> Self {
        Self {
            identity: identity.clone(),
            key: hex::encode(key),
            at: at.as_millisecond(),
            serial,
            certificate: hex::encode(certificate),
        }
    }

    /// When it was made, its serial number and itself, if it is of this identity and key.
    pub(super) fn of(
        &self,
        identity: &Identity,
        key: &[u8],
    ) -> Option<(Timestamp, u64, CertificateDer<'static>)> {
        if self.identity != *identity || self.key != hex::encode(key) {
            return None;
        }
        let at = Timestamp::from_millisecond(self.at).ok()?;
        Some((at, self.serial, hex::decode(&self.certificate).ok()?.into()))
    }
}

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// In the folder of the state.
    pub(crate) fn new(state: &Path) -> Self {
        Self(state.join("efs-tunnel-certificates"))
    }

    fn path(&self, port: u16) -> PathBuf {
        self.0.join(format!("{port}{SUFFIX}"))
    }

    /// What is kept for a port; none if that is nothing, or nothing that can be understood.
    pub(super) fn load(&self, port: u16) -> Option<Kept> {
        serde_json::from_slice(&fs::read(self.path(port)).ok()?).ok()
    }

    pub(super) fn save(&self, port: u16, kept: &Kept) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let new = self.0.join(format!("{port}.new"));
        private_file::write(&new, &serde_json::to_vec(kept)?)?;
        fs::rename(&new, self.path(port))
    }

    /// Forgets all ports but these.
    pub(crate) fn keep_only(&self, ports: impl Fn(u16) -> bool) {
        let Ok(files) = fs::read_dir(&self.0) else { return };
        for file in files.flatten() {
            let name = file.file_name();
            let port = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok());
            if port.is_some_and(|port| !ports(port))
                && let Err(error) = fs::remove_file(file.path())
            {
                tracing::warn!(path = %file.path().display(), %error, "it cannot be removed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn identity(id: &str) -> Identity {
        Identity {
            file_system: id.parse().unwrap(),
            access_point: None,
            region: "eu-central-1".parse().unwrap(),
            target: "10.0.0.1".parse().unwrap(),
            tls: None,
        }
    }

    #[test]
    fn a_certificate_is_found_again_by_its_port_identity_and_key_alone() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Folder::new(folder.path());
        let at: Timestamp = "2026-07-01T12:00:00.5Z".parse().unwrap();
        let mine = identity("fs-92107410");
        kept.save(20_049, &Kept::new(&mine, b"key", at, 7, b"certificate")).unwrap();
        let of = |port, identity: &Identity, key: &[u8]| kept.load(port)?.of(identity, key);
        let found = of(20_049, &mine, b"key").unwrap();
        assert_eq!(found, (at, 7, CertificateDer::from(b"certificate".to_vec())));
        assert_eq!(of(20_050, &mine, b"key"), None);
        assert_eq!(of(20_049, &identity("fs-0badbad0"), b"key"), None);
        assert_eq!(of(20_049, &mine, b"another key"), None);
    }

    #[test]
    fn only_root_reads_them_and_a_torn_or_forgotten_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Folder::new(folder.path());
        let some = Kept::new(&identity("fs-92107410"), b"key", Timestamp::UNIX_EPOCH, 0, b"c");
        kept.save(1, &some).unwrap();
        kept.save(2, &some).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&kept.0), mode(&kept.path(1))), (0o700, 0o600));
        fs::write(kept.path(2), "{").unwrap();
        assert_eq!((kept.load(1), kept.load(2)), (Some(some), None));
        kept.keep_only(|port| port == 2);
        assert_eq!((kept.load(1), fs::read_dir(&kept.0).unwrap().count()), (None, 1));
    }
}
