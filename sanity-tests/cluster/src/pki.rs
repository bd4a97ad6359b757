//! The cluster's own certificates and keys, made at its start and gone with it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use data_encoding::BASE64;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize,
};
use serde_json::json;

/// The authority that signs all certificates of a cluster, in a folder.
pub(crate) struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// Whom a certificate names.
pub(crate) struct Subject<'a> {
    /// The user's name.
    pub(crate) user: &'a str,
    /// The user's group.
    pub(crate) group: Option<&'a str>,
}

impl Authority {
    /// Makes `ca.crt` and `ca.key` in `folder`, and the key that signs service account tokens:
    /// `sa.key` and `sa.pub`. STS takes RS256 tokens, so it is an RSA key.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params.distinguished_name.push(DnType::CommonName, "cluster");
        let pem = params.self_signed(&key)?.pem();
        fs::write(folder.join("ca.crt"), &pem)?;
        fs::write(folder.join("ca.key"), key.serialize_pem())?;
        let tokens = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        fs::write(folder.join("sa.key"), tokens.serialize_pem())?;
        fs::write(folder.join("sa.pub"), tokens.public_key_pem())?;
        Ok(Self { folder: folder.to_owned(), issuer: Issuer::new(params, key), pem })
    }

    /// Makes `NAME.crt` and `NAME.key`, for a client, or for a server with these names too.
    pub(crate) fn certify(&self, name: &str, subject: &Subject<'_>, names: &[&str]) -> Result<()> {
        let key = KeyPair::generate()?;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, subject.user);
        if let Some(group) = subject.group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        fs::write(self.at(name, "crt"), certificate.pem())?;
        fs::write(self.at(name, "key"), key.serialize_pem())?;
        Ok(())
    }

    /// A kubeconfig for a client, at one address of the API server.
    pub(crate) fn kubeconfig(&self, client: &str, server: &str) -> Result<String> {
        let inline = |extension| anyhow::Ok(BASE64.encode(&fs::read(self.at(client, extension))?));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "csi",
            "clusters": [{"name": "csi", "cluster": {
                "server": server, "certificate-authority-data": BASE64.encode(self.pem.as_bytes()),
            }}],
            "users": [{"name": client, "user": {
                "client-certificate-data": inline("crt")?, "client-key-data": inline("key")?,
            }}],
            "contexts": [{"name": "csi", "context": {"cluster": "csi", "user": client}}],
        });
        Ok(config.to_string())
    }

    /// A file of this authority.
    pub(crate) fn at(&self, name: &str, extension: &str) -> PathBuf {
        self.folder.join(format!("{name}.{extension}"))
    }
}
