//! TLS before the simulated AWS, as before EC2: what a driver's memory holds of it (root
//! certificates, sessions) is part of what is measured.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The certificates that a machine trusts, to which the front's own is added.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A front that decrypts and passes on. It ends with this value.
#[derive(Debug)]
pub(super) struct Front {
    /// `https://127.0.0.1:PORT`.
    pub(super) endpoint: String,
    /// File with the system's roots and the front's own, for `SSL_CERT_FILE`.
    pub(super) roots: PathBuf,
    task: JoinHandle<()>,
}

impl Front {
    /// Serves `https` before the `http://` endpoint `behind`.
    pub(super) async fn start(behind: &str, folder: &Path) -> Result<Self> {
        let behind = behind.strip_prefix("http://").context("not http")?.to_owned();
        let (certificate, key) = (folder.join("front.pem"), folder.join("front.key"));
        make_certificate(&certificate, &key)?;
        let chain = vec![CertificateDer::from_pem_file(&certificate)?];
        let mut config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(&key)?)?;
        // As EC2's endpoints.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));

        let roots = folder.join("roots.pem");
        let mut bundle = std::fs::read(SYSTEM_ROOTS).with_context(|| SYSTEM_ROOTS)?;
        bundle.extend(std::fs::read(&certificate)?);
        std::fs::write(&roots, bundle)?;

        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("https://{}", listener.local_addr()?);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(acceptor.clone(), client, behind.clone()));
            }
        });
        Ok(Self { endpoint, roots, task })
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection that breaks is the driver's to notice.
async fn pass_on(acceptor: TlsAcceptor, client: TcpStream, behind: String) {
    let Ok(mut client) = acceptor.accept(client).await else { return };
    let Ok(mut server) = TcpStream::connect(behind).await else { return };
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

fn make_certificate(certificate: &Path, key: &Path) -> Result<()> {
    let mut command = csi_bed::command("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    command.args(["-nodes", "-days", "2", "-subj", "/CN=aws-sim", "-keyout"]).arg(key);
    command.arg("-out").arg(certificate);
    command.args(["-addext", "subjectAltName=IP:127.0.0.1"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    let output = command.output().context("openssl")?;
    ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
