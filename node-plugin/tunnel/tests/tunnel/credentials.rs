//! IAM mounts: where the credentials come from, and that they arrive in the certificate.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use efs_tunnel::identity::CredentialsMethod;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::stand::{Stand, connect, echo_at_last, secure, until};
use crate::target::{Authority, Manner, Target};

const ROLE: &str = "arn:aws:iam::123456789012:role/efs-csi";
const OFF: (&str, &str) = ("AWS_EC2_METADATA_DISABLED", "true");

/// A web server that answers by the path's beginning, and keeps what it was asked.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn answering(answers: &'static [(&'static str, &'static str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(request) = answer(stream, answers).await {
                    seen.lock().unwrap().push(request);
                }
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> String {
        self.asked.lock().unwrap().join("\n")
    }
}

async fn answer(stream: TcpStream, answers: &[(&str, &str)]) -> std::io::Result<String> {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        stream.read_line(&mut request).await?;
    }
    let lower = request.to_ascii_lowercase();
    let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut body).await?;
    let found = answers.iter().find(|(begin, _)| request.starts_with(begin));
    let (status, text) = found.map_or(("404 No", ""), |(_, text)| ("200 OK", *text));
    let head = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\n\
         x-aws-ec2-metadata-token-ttl-seconds: 21600\r\ncontent-length: "
    );
    let answer = format!("{head}{}\r\n\r\n{text}", text.len());
    stream.write_all(answer.as_bytes()).await?;
    Ok(request + std::str::from_utf8(&body).unwrap())
}

/// Connects an IAM mount and gives the signature extension that the target saw.
async fn signed(stand: &Stand, method: CredentialsMethod) -> String {
    let authority = Authority::new();
    let target = Target::secure(&authority, Manner::Echo).await;
    let mut identity = secure(target.address, stand.ca_file(&authority.pem));
    identity.tls.as_mut().unwrap().iam = Some(method);
    let port = stand.serve(identity).await;
    echo_at_last(port, "signed", Duration::from_secs(10)).await;
    let shown = target.shown.lock().unwrap().first().unwrap().clone();
    let (_, certificate) = X509Certificate::from_der(&shown).unwrap();
    let extension = certificate.extensions().get(2).unwrap();
    assert_eq!(extension.oid.to_id_string(), "1.3.6.1.4.1.4843.7.2");
    String::from_utf8_lossy(extension.value).into_owned()
}

const STS: &[(&str, &str)] = &[(
    "POST /",
    "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
     <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId>\
     <SecretAccessKey>topsecret</SecretAccessKey><SessionToken>session</SessionToken>\
     <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
     </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
)];

const AGENT: &[(&str, &str)] = &[(
    "GET /v1/credentials",
    "{\"AccessKeyId\":\"ASIAPOD\",\"SecretAccessKey\":\"topsecret\",\"Token\":\"session\",\
     \"Expiration\":\"2099-01-01T00:00:00Z\"}",
)];

const METADATA: &[(&str, &str)] = &[
    ("PUT /latest/api/token", "metadata-token"),
    (
        "GET /latest/meta-data/iam/security-credentials/node",
        "{\"Code\":\"Success\",\"LastUpdated\":\"2026-01-01T00:00:00Z\",\"Type\":\"AWS-HMAC\",\
         \"AccessKeyId\":\"ASIANODE\",\"SecretAccessKey\":\"topsecret\",\"Token\":\"session\",\
         \"Expiration\":\"2099-01-01T00:00:00Z\"}",
    ),
    ("GET /latest/meta-data/iam/security-credentials/", "node"),
];

#[tokio::test]
async fn a_service_accounts_token_is_exchanged_for_a_role() {
    let sts = Server::answering(STS).await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "eyJhbGciOi.e30.signature").unwrap();
    let token_file = token.to_str().unwrap();
    let settings = [
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token_file),
        ("AWS_ENDPOINT_URL_STS", &sts.url),
        OFF,
    ];
    let stand = Stand::start_with(&settings).await;
    assert!(signed(&stand, CredentialsMethod::Default).await.contains("ASIAROLE"));
    assert!(sts.asked().contains("WebIdentityToken=eyJhbGciOi.e30.signature"));

    // The mount's own role, with the options rolearn and jwtpath.
    let role_arn = "arn:aws:iam::123456789012:role/other".to_owned();
    let own = CredentialsMethod::WebIdentity { role_arn, token_file: token.clone() };
    assert!(signed(&stand, own).await.contains("ASIAROLE"));
    assert!(sts.asked().contains("role%2Fother"), "{}", sts.asked());
}

#[tokio::test]
async fn pod_identity_is_asked_with_its_token() {
    let agent = Server::answering(AGENT).await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "pod-token").unwrap();
    let settings = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*format!("{}/v1/credentials", agent.url)),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap()),
        OFF,
    ];
    let stand = Stand::start_with(&settings).await;
    assert!(signed(&stand, CredentialsMethod::Default).await.contains("ASIAPOD"));
    assert!(agent.asked().to_ascii_lowercase().contains("authorization: pod-token"));
}

#[tokio::test]
async fn the_instances_role_is_the_last_resort() {
    let metadata = Server::answering(METADATA).await;
    let stand = Stand::start_with(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.url)]).await;
    assert!(signed(&stand, CredentialsMethod::Default).await.contains("ASIANODE"));
    let asked = metadata.asked().to_ascii_lowercase();
    assert!(asked.contains("x-aws-ec2-metadata-token: metadata-token"), "IMDSv2: {asked}");
}

#[tokio::test]
async fn a_lack_of_credentials_is_told_and_the_client_is_held() {
    let stand = Stand::start_with(&[OFF]).await;
    let authority = Authority::new();
    let target = Target::secure(&authority, Manner::Echo).await;
    let mut identity = secure(target.address, stand.ca_file(&authority.pem));
    identity.tls.as_mut().unwrap().iam = Some(CredentialsMethod::Default);
    let port = stand.serve(identity).await;
    let _stream = connect(port).await;
    let told = async || {
        let error = stand.status(port).await.last_error.unwrap_or_default();
        error.contains("no source of credentials is set up") && error.contains("instance profile")
    };
    until("the reason is told", told).await;
    assert!(target.shown.lock().unwrap().is_empty());
    assert_eq!(stand.status(port).await.connections, 1);
}
