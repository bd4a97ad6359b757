//! A mount target in this process, and a client that makes certificates by its own arithmetic.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use csi_sim::MountTarget;
use csi_sim::http::credentials::Credential;
use csi_sim::targets::{Authority, Backend, TargetConfig, alone, server_name};
use csi_sim::world::efs::{CreateAccessPoint, CreationInfo, PosixUser, RootDirectory};
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa, KeyPair, PKCS_RSA_SHA256,
    PublicKeyData, RsaKeySize, SerialNumber, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) const FS: &str = "fs-92107410";
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// One key for all, as on a node; making it takes a while.
pub(crate) static KEY: LazyLock<KeyPair> =
    LazyLock::new(|| KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072).unwrap());

/// What a certificate is to say.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) file_system: String,
    pub(crate) access_point: Option<String>,
    pub(crate) credential: Option<Credential>,
    pub(crate) region: String,
    pub(crate) now: Timestamp,
    pub(crate) reversed: bool,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            file_system: FS.to_owned(),
            access_point: None,
            credential: None,
            region: REGION.to_owned(),
            now: Timestamp::now(),
            reversed: false,
        }
    }
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut all = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => all.push(short),
        _ => {
            all.extend(
                [&[0x82][..], &u16::try_from(content.len()).unwrap().to_be_bytes()].concat(),
            );
        }
    }
    all.extend(content);
    all
}

impl Wish {
    fn signature(&self, credential: &Credential, hash: &str) -> Vec<u8> {
        let stamp = self.now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let scope = format!("{}/{}/elasticfilesystem/aws4_request", &stamp[..8], self.region);
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
                .replace("%2D", "-")
                .replace("%2E", ".")
                .replace("%5F", "_")
        };
        let token = credential.session_token.as_deref();
        let token = token.map(|token| format!("&X-Amz-Security-Token={}", encode(token)));
        let canonical = format!(
            "GET\n/\nAction=Connect&PublicKeyHash={hash}&X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential={}&X-Amz-Date={stamp}&X-Amz-Expires=86400{}\
             &X-Amz-SignedHeaders=host\nhost:{}\nhost\n{}",
            encode(&format!("{}/{scope}", credential.access_key)),
            token.unwrap_or_default(),
            self.file_system,
            hex::encode(Sha256::digest("")),
        );
        let hashed = hex::encode(Sha256::digest(canonical));
        let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}");
        let mut key = format!("AWS4{}", credential.secret).into_bytes();
        for part in scope.split('/').chain([to_sign.as_str()]) {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            mac.update(part.as_bytes());
            key = mac.finalize().into_bytes().to_vec();
        }
        let mut parts = element(0x0c, credential.access_key.as_bytes());
        parts.extend(element(0x04, hex::encode(key).as_bytes()));
        parts.extend(element(0x17, self.now.strftime("%y%m%d%H%M%SZ").to_string().as_bytes()));
        if let Some(token) = &credential.session_token {
            parts.extend(element(0xa0, &element(0x0c, token.as_bytes())));
        }
        element(0x30, &parts)
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, KEY.der_bytes());
        let mut params = CertificateParams::default();
        let seconds = u64::try_from(self.now.as_second()).unwrap();
        let now = date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        params.not_before = now - Duration::from_mins(15);
        params.not_after = now + Duration::from_hours(3);
        params.serial_number = Some(SerialNumber::from(0));
        params.is_ca = IsCa::NoCa;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "node");
        let mut add = |oid: &[u64], content: Vec<u8>| {
            params.custom_extensions.push(CustomExtension::from_oid_content(oid, content));
        };
        let efs = |last| [1, 3, 6, 1, 4, 1, 4843, 7, last];
        add(&[2, 5, 29, 14], element(0x04, hash.as_ref()));
        if let Some(id) = &self.access_point {
            add(&efs(1), element(0x0c, id.as_bytes()));
        }
        if let Some(credential) = &self.credential {
            add(&efs(2), self.signature(credential, &hex::encode(hash.as_ref())));
        }
        add(&efs(3), element(0x0c, self.file_system.as_bytes()));
        let client = [element(0x0c, b"k8s"), element(0x0c, b"3.2.0")].concat();
        add(&efs(4), element(0x30, &client));
        if self.reversed {
            params.custom_extensions.reverse();
        }
        params.self_signed(&*KEY).unwrap().der().clone()
    }
}

/// A mount target with what a client needs to know of it.
pub(crate) struct Bench {
    pub(crate) target: MountTarget,
    authority: Authority,
    _echo: JoinHandle<()>,
}

impl Bench {
    /// With a server behind that sends back what it gets.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let echo = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ended = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        Self::with(Backend::Address(address), echo).await
    }

    pub(crate) async fn with(backend: Backend, echo: JoinHandle<()>) -> Self {
        let authority = Authority::new().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let target = MountTarget::alone(address, FS, REGION, &authority, backend).await.unwrap();
        Self { target, authority, _echo: echo }
    }

    /// With a listener that is there already.
    pub(crate) fn on(listener: TcpListener, backend: Backend) -> Self {
        let authority = Authority::new().unwrap();
        let config = TargetConfig {
            address: listener.local_addr().unwrap(),
            file_system: FS,
            authority: &authority,
            backend,
        };
        let target = MountTarget::on(listener, &alone(FS, REGION).unwrap(), config).unwrap();
        Self { target, authority, _echo: tokio::spawn(async {}) }
    }

    /// Adds an access point for one user.
    pub(crate) fn access_point(&self, path: &str, id: u32, file_system: &str) -> String {
        let call = CreateAccessPoint {
            client_token: path.to_owned(),
            file_system: file_system.to_owned(),
            posix_user: Some(PosixUser { uid: id, gid: id, secondary_gids: vec![] }),
            root: RootDirectory {
                path: path.to_owned(),
                creation_info: Some(CreationInfo {
                    owner_uid: id,
                    owner_gid: id,
                    permissions: "700".to_owned(),
                }),
            },
            tags: csi_core::ebs::Tags::new(),
        };
        let sim = self.target.app().sim();
        sim.with(|world, now| world.create_access_point(&call, now)).unwrap().id
    }

    /// Dials; whether it was let in shows only when something is read.
    pub(crate) async fn dial(
        &self,
        wish: &Wish,
        name: &str,
        version: &'static SupportedProtocolVersion,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.dial_with(wish.certificate(), name, version).await
    }

    /// The same with a certificate that somebody else made with [`KEY`].
    pub(crate) async fn dial_with(
        &self,
        certificate: CertificateDer<'static>,
        name: &str,
        version: &'static SupportedProtocolVersion,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.target.address()).await?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        self.connector(certificate, version).connect(name, stream).await
    }

    pub(crate) fn connector(
        &self,
        certificate: CertificateDer<'static>,
        version: &'static SupportedProtocolVersion,
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.authority.pem().as_bytes()).unwrap())
            .unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(KEY.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)
            .unwrap();
        TlsConnector::from(Arc::new(config))
    }

    pub(crate) async fn connect(&self, wish: &Wish) -> std::io::Result<TlsStream<TcpStream>> {
        self.dial(wish, &server_name(FS, REGION), &rustls::version::TLS13).await
    }

    /// Whether a client is let in and gets its bytes back.
    pub(crate) async fn is_let_in(&self, wish: &Wish) -> bool {
        let Ok(mut stream) = self.connect(wish).await else { return false };
        timeout(PATIENCE, is_echoed(&mut stream)).await.unwrap()
    }

    /// The last reason why somebody was not let in.
    pub(crate) fn last_refusal(&self) -> String {
        self.target.refusals().last().map(ToString::to_string).unwrap_or_default()
    }
}

pub(crate) async fn is_echoed(stream: &mut TlsStream<TcpStream>) -> bool {
    let mut back = [0; 5];
    let sent = stream.write_all(b"hello").await.is_ok();
    sent && stream.read_exact(&mut back).await.is_ok() && back == *b"hello"
}
