//! Who vouches for a mount target.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem};
use rustls::server::VerifierBuilderError;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::identity::{Authority, Tls};

/// Amazon Root CA 1 to 4, which sign the certificates of all EFS mount targets.
/// Source: Debian's ca-certificates; <https://www.amazontrust.com/repository/>.
const AMAZON: &[u8] = include_bytes!("amazon-roots.pem");

/// Why a server cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file of roots cannot be read.
    #[error("the CA file {} cannot be read", path.display())]
    Read {
        /// The mount's `cafile`.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds no PEM.
    #[error("the CA certificates of {origin} are no PEM")]
    Pem {
        /// Whose.
        origin: String,
        /// What the parser said.
        source: pem::Error,
    },
    /// It holds no usable certificate.
    #[error("{origin} holds no usable CA certificate")]
    Empty {
        /// Whose.
        origin: String,
        /// What the library said.
        source: VerifierBuilderError,
    },
}

pub(super) fn verifier(
    tls: &Tls,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TrustError> {
    let (pem, origin) = match &tls.authority {
        Authority::Amazon => (AMAZON.to_vec(), "Amazon".to_owned()),
        Authority::File { path } => {
            let pem =
                fs::read(path).map_err(|source| TrustError::Read { path: path.clone(), source })?;
            (pem, path.display().to_string())
        }
        Authority::Unverified => return Ok(Arc::new(Anybody { provider: Arc::clone(provider) })),
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate =
            certificate.map_err(|source| TrustError::Pem { origin: origin.clone(), source })?;
        // A bundle of a system may hold a root that the library does not take. The others count.
        let _ = roots.add(certificate);
    }
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|source| TrustError::Empty { origin, source })?;
    if tls.check_name { Ok(chain) } else { Ok(Arc::new(AnyName { chain })) }
}

/// The chain is verified, the name is not: `stunnel_check_cert_hostname = false`.
#[derive(Debug)]
struct AnyName {
    chain: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The library looks at the name last, when the chain is found good.
        match self.chain.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// The mount option `verify=0`: the traffic is encrypted, but to whomever answers.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_roots_are_amazons_four() {
        let subjects: Vec<String> = CertificateDer::pem_slice_iter(AMAZON)
            .map(|certificate| {
                let certificate = certificate.unwrap();
                let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
                parsed.verify_signature(None).unwrap();
                parsed.subject().to_string()
            })
            .collect();
        let expected: Vec<String> =
            (1..=4).map(|number| format!("C=US, O=Amazon, CN=Amazon Root CA {number}")).collect();
        assert_eq!(subjects, expected);
    }
}
