//! The check of client certificates as rustls calls it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::check::{self, Client, Refusal};
use crate::http::App;

/// Refusals kept; the oldest are dropped.
const KEPT: usize = 100;

/// Lets in who passes the checks of one file system's mount target, and notes who does not.
#[derive(Debug)]
pub(super) struct Verifier {
    app: App,
    file_system: String,
    algorithms: WebPkiSupportedAlgorithms,
    refusals: Mutex<VecDeque<Refusal>>,
}

impl Verifier {
    pub(super) fn new(app: App, file_system: &str) -> Self {
        Self {
            app,
            file_system: file_system.to_owned(),
            algorithms: rustls::crypto::aws_lc_rs::default_provider()
                .signature_verification_algorithms,
            refusals: Mutex::default(),
        }
    }

    /// What the holder of a certificate may do.
    pub(super) fn client(&self, certificate: &[u8]) -> Result<Client, Refusal> {
        self.noted(check::check(&self.app, &self.file_system, certificate, Timestamp::now()))
    }

    /// What a client without TLS may do.
    pub(super) fn plain_client(&self) -> Result<Client, Refusal> {
        self.noted(check::check_plain(&self.app, &self.file_system))
    }

    fn noted(&self, result: Result<Client, Refusal>) -> Result<Client, Refusal> {
        if let Err(refusal) = &result {
            tracing::info!(file_system = self.file_system, %refusal, "a client is not let in");
            let mut all = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() == KEPT {
                all.pop_front();
            }
            all.push_back(refusal.clone());
        }
        result
    }

    pub(super) fn refusals(&self) -> Vec<Refusal> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.client(certificate) {
            Ok(_client) => Ok(ClientCertVerified::assertion()),
            Err(Refusal::NotInForce { .. }) => Err(CertificateError::Expired.into()),
            Err(Refusal::Layout(_)) => Err(CertificateError::BadEncoding.into()),
            Err(_other) => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
