//! The RSA key of this node's client certificates. One key serves all mounts, as with efs-utils,
//! whose file is used if it is there: a rollback then finds its key again.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::SigningKey;

/// The name that efs-utils gives the file in `/etc/amazon/efs`.
const FILE: &str = "privateKey.pem";

/// The key, ready to sign certificates and handshakes.
pub struct NodeKey {
    pair: KeyPair,
    signer: Arc<dyn SigningKey>,
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeKey").finish_non_exhaustive()
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file or its folder cannot be used.
    #[error("the node's key {}: {doing} failed", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "the node's key {} is no RSA key in PKCS#8 PEM; move it away and a new one is made",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: rcgen::Error,
    },
    /// No key could be made.
    #[error("no RSA key could be made")]
    Generate(#[source] rcgen::Error),
    /// The TLS library cannot sign with it.
    #[error("the node's key {} cannot sign handshakes", path.display())]
    Signer {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
}

impl NodeKey {
    /// Reads the key in `folder`, or makes one of 3072 bits there (about a second). Two processes
    /// that do it at once end with the same key.
    pub fn load_or_create(folder: &Path) -> Result<Self, KeyError> {
        let path = folder.join(FILE);
        let failed = |doing| {
            let path = path.clone();
            move |source| KeyError::File { path, doing, source }
        };
        let mut pem = read(&path).map_err(failed("reading it"))?;
        if pem.is_none() {
            let new = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072)
                .map_err(KeyError::Generate)?;
            create(folder, &path, &new.serialize_pem()).map_err(failed("making it"))?;
            pem = read(&path).map_err(failed("reading it"))?;
        }
        Self::from_pem(&pem.unwrap_or_default(), &path)
    }

    fn from_pem(pem: &str, path: &Path) -> Result<Self, KeyError> {
        let pair = KeyPair::from_pkcs8_pem_and_sign_algo(pem, &PKCS_RSA_SHA256)
            .map_err(|source| KeyError::Format { path: path.to_owned(), source })?;
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let signer = any_supported_type(&der)
            .map_err(|source| KeyError::Signer { path: path.to_owned(), source })?;
        Ok(Self { pair, signer })
    }

    /// For certificates.
    #[must_use]
    pub const fn pair(&self) -> &KeyPair {
        &self.pair
    }

    /// For handshakes.
    #[must_use]
    pub fn signer(&self) -> Arc<dyn SigningKey> {
        Arc::clone(&self.signer)
    }
}

/// An empty file counts as none: efs-utils leaves one when it is killed while it makes the key.
fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(pem) if pem.trim().is_empty() => Ok(None),
        Ok(pem) => Ok(Some(pem)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts a complete file in place, unless another process has put one there first.
fn create(folder: &Path, path: &Path, pem: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = folder.join(format!(".{FILE}.{}", std::process::id()));
    let written = write(&new, pem).and_then(|()| place(&new, path));
    let removed = fs::remove_file(&new);
    written?;
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    File::open(folder)?.sync_all()
}

fn write(new: &Path, pem: &str) -> io::Result<()> {
    if let Err(error) = fs::remove_file(new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(new)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()
}

fn place(new: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(new, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::metadata(path)?.len() == 0 { fs::rename(new, path) } else { Ok(()) }
        }
        linked => linked,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rcgen::PublicKeyData;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_ever_after() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "").unwrap();
        let load = || NodeKey::load_or_create(folder.path()).unwrap().pair.der_bytes().to_vec();
        assert_eq!(load(), load());
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn whoever_comes_second_takes_the_key_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        create(folder.path(), &path, "first").unwrap();
        create(folder.path(), &path, "second").unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "first");
    }

    #[test]
    fn a_file_that_is_no_key_is_named_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "no key").unwrap();
        let error = NodeKey::load_or_create(folder.path()).unwrap_err();
        assert!(matches!(error, KeyError::Format { .. }), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), "no key");
    }
}
