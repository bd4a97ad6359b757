//! TLS towards mount targets: whom we trust, and what we show.
//!
//! Sessions are never resumed: a resumed one would keep the old client certificate, and with it
//! credentials that were replaced.

mod trust;

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, client::danger::ServerCertVerifier};

use crate::identity::{Host, Tls};
use crate::key::NodeKey;

pub(crate) use trust::TrustError;

/// What all connections of the process share.
#[derive(Debug)]
pub(crate) struct Library {
    provider: Arc<CryptoProvider>,
}

impl Library {
    pub(crate) fn new() -> Self {
        Self { provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()) }
    }

    /// Who vouches for the server of one identity.
    pub(crate) fn trust(&self, tls: &Tls) -> Result<Arc<dyn ServerCertVerifier>, TrustError> {
        trust::verifier(tls, &self.provider)
    }

    /// A client that shows `certificate`, in TLS 1.2 and 1.3.
    pub(crate) fn client(
        &self,
        trust: Arc<dyn ServerCertVerifier>,
        key: &NodeKey,
        certificate: CertificateDer<'static>,
    ) -> Result<ClientConfig, rustls::Error> {
        let shown = CertifiedKey::new(vec![certificate], key.signer());
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(trust)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// The name as the TLS library wants it.
pub(crate) fn server_name(host: &Host) -> Result<ServerName<'static>, InvalidDnsNameError> {
    ServerName::try_from(host.as_str().to_owned())
}
