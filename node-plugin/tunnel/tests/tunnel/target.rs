//! A mount target: it asks for a client certificate, keeps what it says, and echoes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// The name in the certificate.
pub(crate) const NAME: &str = "fs-92107410.efs.eu-central-1.amazonaws.com";

/// What a target does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Echo,
    /// Accepts, and never reads.
    Stall,
    /// Accepts, and closes.
    Close,
}

/// A certificate authority with one server.
pub(crate) struct Authority {
    pub(crate) pem: String,
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("a test's authority")
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        let server = server.signed_by(&key, &issuer).unwrap();
        Self { pem: issuer.pem(), chain: vec![server.der().clone()], key: key.serialize_der() }
    }
}

/// A running target. Dropping it closes its listener and its connections.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) accepted: Arc<AtomicUsize>,
    /// The client certificates, in the order of the handshakes.
    pub(crate) shown: Arc<Mutex<Vec<Vec<u8>>>>,
    task: AbortHandle,
}

impl Drop for Target {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Target {
    pub(crate) async fn clear(manner: Manner) -> Self {
        Self::start(free(), None, manner).await
    }

    pub(crate) async fn clear_at(address: SocketAddr, manner: Manner) -> Self {
        Self::start(address, None, manner).await
    }

    pub(crate) async fn secure(authority: &Authority, manner: Manner) -> Self {
        Self::with_versions(authority, manner, rustls::ALL_VERSIONS).await
    }

    pub(crate) async fn with_versions(
        authority: &Authority,
        manner: Manner,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let shown = Arc::default();
        let acceptor = acceptor(authority, versions, Arc::clone(&shown));
        let mut target = Self::start(free(), Some(acceptor), manner).await;
        target.shown = shown;
        target
    }

    async fn start(address: SocketAddr, tls: Option<TlsAcceptor>, manner: Manner) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let tls = tls.clone();
                connections.spawn(async move {
                    match tls {
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => treat(stream, manner).await,
                            Err(_the_client_refused) => {}
                        },
                        None => treat(stream, manner).await,
                    }
                });
            }
        });
        Self { address, accepted, shown: Arc::default(), task: task.abort_handle() }
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

fn free() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

async fn treat<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, manner: Manner) {
    match manner {
        Manner::Close => {}
        Manner::Stall => std::future::pending().await,
        Manner::Echo => {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..length]).await.is_err()
                    || stream.flush().await.is_err()
                {
                    return;
                }
            }
        }
    }
}

fn acceptor(
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    shown: Arc<Mutex<Vec<Vec<u8>>>>,
) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = Arc::new(Clients { provider: Arc::clone(&provider), shown });
    let key = PrivateKeyDer::try_from(authority.key.clone()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(authority.chain.clone(), key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Wants a client certificate, takes any, and proves that the client has its key.
#[derive(Debug)]
struct Clients {
    provider: Arc<CryptoProvider>,
    shown: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.shown.lock().unwrap().push(end_entity.to_vec());
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
