//! The TLS client of one identity, whose certificate is renewed by the hour. The renewal happens
//! when a connection is made, so an idle identity costs nothing, and a connection that is up is
//! left alone: that is all that efs-utils does too.

mod kept;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::sync::Mutex;

use crate::certificate::{Certificate, ClientInfo, IssueError, public_key_hash};
use crate::credentials::{CredentialsError, Wallet};
use crate::identity::{Host, Identity, Tls};
use crate::key::NodeKey;
use crate::tls::{self, Library, TrustError};
pub(crate) use kept::Folder;
use kept::Kept;

/// A certificate of this age is replaced. It holds for three hours.
const RENEWAL: Duration = Duration::from_hours(1);
/// A certificate this old is not shown any more, even if no new one can be made.
const LAST_USE: Duration = Duration::from_mins(175);

/// What makes certificates.
#[derive(Debug)]
pub(crate) struct Issuer {
    pub(crate) library: Library,
    pub(crate) key: NodeKey,
    pub(crate) common_name: String,
    pub(crate) client: ClientInfo,
    pub(crate) wallet: Wallet,
    pub(crate) kept: Folder,
}

/// The TLS client of one identity.
#[derive(Debug)]
pub(crate) struct Passport {
    issuer: Arc<Issuer>,
    port: u16,
    identity: Identity,
    tls: Tls,
    pub(crate) server_name: ServerName<'static>,
    current: Mutex<Option<Issued>>,
}

#[derive(Debug)]
struct Issued {
    at: Timestamp,
    serial: u64,
    config: Arc<ClientConfig>,
}

/// Why an identity has no TLS client.
#[derive(Debug, thiserror::Error)]
pub enum PassportError {
    /// The server's name is none.
    #[error("{name} is no name that a TLS certificate can bear")]
    Name {
        /// The name.
        name: Host,
        /// What the library said.
        source: rustls::pki_types::InvalidDnsNameError,
    },
    /// The server cannot be verified.
    #[error("the mount target cannot be verified")]
    Trust(#[source] TrustError),
    /// There are no credentials to sign with.
    #[error("no AWS credentials for an IAM mount")]
    Credentials(#[source] CredentialsError),
    /// There is no certificate.
    #[error("no client certificate")]
    Issue(#[source] IssueError),
    /// The library does not take it.
    #[error("the TLS library refuses the client certificate")]
    Library(#[source] rustls::Error),
}

impl Passport {
    pub(crate) fn new(
        issuer: Arc<Issuer>,
        port: u16,
        identity: Identity,
        tls: Tls,
    ) -> Result<Self, PassportError> {
        let server_name = tls::server_name(&tls.server_name)
            .map_err(|source| PassportError::Name { name: tls.server_name.clone(), source })?;
        Ok(Self { issuer, port, identity, tls, server_name, current: Mutex::new(None) })
    }

    /// A client whose certificate is younger than the renewal demands, or, while credentials fail,
    /// one that holds at least.
    pub(crate) async fn client(&self, now: Timestamp) -> Result<Arc<ClientConfig>, PassportError> {
        let mut current = self.current.lock().await;
        if current.is_none() {
            *current = self.kept();
        }
        if let Some(issued) = current.as_ref().filter(|issued| issued.younger(RENEWAL, now)) {
            return Ok(Arc::clone(&issued.config));
        }
        let serial = current.as_ref().map_or(0, |issued| issued.serial + 1);
        let error = match self.issue(serial, now).await {
            Ok(certificate) => {
                let config = Arc::new(self.config(certificate.clone())?);
                *current = Some(Issued { at: now, serial, config: Arc::clone(&config) });
                self.keep(serial, now, &certificate);
                return Ok(config);
            }
            Err(error) => error,
        };
        match current.as_ref().filter(|issued| issued.younger(LAST_USE, now)) {
            Some(issued) => {
                let error = crate::chain(&error);
                let file_system = &self.identity.file_system;
                tracing::warn!(%file_system, %error, "the client certificate was not renewed");
                Ok(Arc::clone(&issued.config))
            }
            None => Err(error),
        }
    }

    async fn issue(
        &self,
        serial: u64,
        now: Timestamp,
    ) -> Result<CertificateDer<'static>, PassportError> {
        let credentials = match &self.tls.iam {
            Some(method) => {
                let wallet = &self.issuer.wallet;
                let credentials = wallet.credentials(method, &self.identity.region).await;
                Some(credentials.map_err(PassportError::Credentials)?)
            }
            None => None,
        };
        let certificate = Certificate {
            serial,
            common_name: &self.issuer.common_name,
            file_system: &self.identity.file_system,
            access_point: self.identity.access_point.as_ref(),
            region: &self.identity.region,
            credentials: credentials.as_ref(),
            client: &self.issuer.client,
        };
        certificate.issue(self.issuer.key.pair(), now).map_err(PassportError::Issue)
    }

    fn config(&self, certificate: CertificateDer<'static>) -> Result<ClientConfig, PassportError> {
        let Issuer { library, key, .. } = &*self.issuer;
        library.client(self.trust()?, key, certificate).map_err(PassportError::Library)
    }

    /// The certificate of a worker that was here before.
    fn kept(&self) -> Option<Issued> {
        let kept = self.issuer.kept.load(self.port)?;
        let (at, serial, certificate) =
            kept.of(&self.identity, &public_key_hash(self.issuer.key.pair()))?;
        // What is wrong with the roots is told when a new one is made.
        let config = Arc::new(self.config(certificate).ok()?);
        Some(Issued { at, serial, config })
    }

    /// Keeps it for the next worker, off the threads that relay.
    fn keep(&self, serial: u64, at: Timestamp, certificate: &[u8]) {
        let key = public_key_hash(self.issuer.key.pair());
        let kept = Kept::new(&self.identity, &key, at, serial, certificate);
        let (folder, port) = (self.issuer.kept.clone(), self.port);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = folder.save(port, &kept) {
                tracing::warn!(port, %error, "the client certificate is not kept");
            }
        });
    }

    /// The file of roots is read again at each renewal: it may have been replaced.
    fn trust(&self) -> Result<Arc<dyn ServerCertVerifier>, PassportError> {
        self.issuer.library.trust(&self.tls).map_err(PassportError::Trust)
    }
}

impl Issued {
    /// A clock that was set back makes the certificate old, not young.
    fn younger(&self, than: Duration, now: Timestamp) -> bool {
        Duration::try_from(now.duration_since(self.at)).is_ok_and(|age| age < than)
    }
}
