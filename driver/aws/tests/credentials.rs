//! The credential chain with the environment that a pod gets. Settings come from environment
//! variables, so each case runs in a process of its own: this test program again, which then
//! prints what it found.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use csi_aws::{Config, Ec2};
use csi_core::ebs::Ebs;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

const CASE: &str = "CSI_AWS_TEST_CASE";
const ROLE: &str = "arn:aws:iam::123456789012:role/ebs-csi";

/// The child's side: checks the credentials and calls EC2 once.
#[tokio::test]
async fn child() {
    #[expect(clippy::disallowed_methods, reason = "tells the child from the parent")]
    let is_child = std::env::var(CASE).is_ok();
    if !is_child {
        return;
    }
    let config = Config { region: "eu-west-1".to_owned(), ..Config::default() };
    let ec2 = Ec2::connect(&config, &mut Registry::default()).unwrap();
    let started = Instant::now();
    let checked = ec2.check_credentials().await;
    let took = started.elapsed();
    match checked {
        Ok(()) => println!("RESULT credentials loaded"),
        Err(error) => println!("RESULT {error:?} {error}"),
    }
    assert!(took < Duration::from_millis(3_300), "named only after {took:?}");
    match ec2.describe_zones().await {
        Ok(zones) => println!("RESULT {} zones", zones.len()),
        Err(error) => println!("RESULT {error}"),
    }
}

/// What [`child`] printed with this environment and no other AWS setting.
fn run(settings: &[(&str, &str)]) -> String {
    #[expect(clippy::disallowed_methods, reason = "a process is the only clean environment")]
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env_clear().env(CASE, "1");
    // No home, so no shared configuration of whoever runs the tests.
    command.env("HOME", "/nonexistent").env("AWS_EC2_METADATA_DISABLED", "true");
    let output = command.envs(settings.iter().copied()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    for secret in ["topsecret", "eyJ"] {
        assert!(!text.contains(secret), "a secret in {text}");
        assert!(!errors.contains(secret), "a secret in {errors}");
    }
    text.lines().filter_map(|line| line.strip_prefix("RESULT ")).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

/// A server that answers every request alike and keeps what it was asked.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn answering(status: u16, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, body) = (Arc::clone(&requests), body.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let request = answer(stream, status, &body);
                seen.lock().unwrap().extend(request);
            }
        });
        Self { address, requests }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn asked(&self) -> String {
        self.requests.lock().unwrap().join("\n\n")
    }
}

fn answer(stream: TcpStream, status: u16, body: &str) -> Option<String> {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        if stream.read_line(&mut request).ok()? == 0 {
            return None;
        }
    }
    let lower = request.to_ascii_lowercase();
    let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let mut form = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut form).ok()?;
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Status\r\nconnection: close\r\nx-amzn-requestid: r-1\r\n\
         content-length: {length}\r\n\r\n"
    );
    stream.get_mut().write_all(format!("{head}{body}").as_bytes()).ok()?;
    Some(request + std::str::from_utf8(&form).ok()?)
}

/// EC2 with one zone.
fn ec2() -> Server {
    Server::answering(
        200,
        "<DescribeAvailabilityZonesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
         <availabilityZoneInfo><item><zoneName>eu-west-1a</zoneName></item>\
         </availabilityZoneInfo></DescribeAvailabilityZonesResponse>",
    )
}

fn token_file() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"eyJhbGciOi.e30.signature").unwrap();
    file
}

#[test]
fn static_keys_are_used() {
    let ec2 = ec2();
    let said = run(&[
        ("AWS_ACCESS_KEY_ID", "AKIDSTATIC"),
        ("AWS_SECRET_ACCESS_KEY", "topsecret"),
        ("AWS_ENDPOINT_URL_EC2", &ec2.url()),
    ]);
    assert_says(&said, &["credentials loaded", "1 zones"]);
    assert_says(&ec2.asked(), &["Credential=AKIDSTATIC/", "/eu-west-1/ec2/aws4_request"]);
}

#[test]
fn a_service_accounts_token_is_exchanged_for_a_role() {
    let (ec2, token) = (ec2(), token_file());
    let sts = Server::answering(
        200,
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId>\
         <SecretAccessKey>topsecret</SecretAccessKey><SessionToken>topsecret</SessionToken>\
         <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
         </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
    );
    let said = run(&[
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.path().to_str().unwrap()),
        ("AWS_ENDPOINT_URL_STS", &sts.url()),
        ("AWS_ENDPOINT_URL_EC2", &ec2.url()),
    ]);
    assert_says(&said, &["credentials loaded", "1 zones"]);
    assert_says(&sts.asked(), &["role%2Febs-csi", "WebIdentityToken=eyJhbGciOi.e30.signature"]);
    assert_eq!(sts.asked().matches("Action=").count(), 1, "one exchange serves both calls");
    assert_says(&ec2.asked(), &["Credential=ASIAROLE/"]);
}

#[test]
fn a_missing_token_file_is_named() {
    let path = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token";
    let said = run(&[("AWS_ROLE_ARN", ROLE), ("AWS_WEB_IDENTITY_TOKEN_FILE", path)]);
    assert_says(&said, &["TokenFile {", path, "No such file", "eks.amazonaws.com/role-arn"]);
    assert_says(&said, &["DescribeAvailabilityZones answered NoCredentials: web identity"]);
}

#[test]
fn a_role_that_does_not_trust_the_account_is_named_with_stss_words() {
    let token = token_file();
    let sts = Server::answering(
        403,
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
         <Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized to perform \
         sts:AssumeRoleWithWebIdentity</Message></Error><RequestId>r-1</RequestId></ErrorResponse>",
    );
    let said = run(&[
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.path().to_str().unwrap()),
        ("AWS_ENDPOINT_URL_STS", &sts.url()),
    ]);
    assert_says(&said, &["Sts {", ROLE, "AccessDenied: Not authorized", "r-1", "trust policy"]);
}

#[test]
fn an_sts_that_refuses_connections_or_never_answers_is_named() {
    let token = token_file();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (address, part) in [
        (dead, "StsUnreachable { region: \"eu-west-1\", reason: "),
        (silent.local_addr().unwrap(), "TimedOut { link: WebIdentity, after: 3s }"),
    ] {
        let said = run(&[
            ("AWS_ROLE_ARN", ROLE),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.path().to_str().unwrap()),
            ("AWS_ENDPOINT_URL_STS", &format!("http://{address}")),
        ]);
        assert_says(&said, &[part, "answered NoCredentials"]);
    }
}

#[test]
fn pod_identity_gives_credentials_for_its_token() {
    let (ec2, token) = (ec2(), token_file());
    let agent = Server::answering(
        200,
        "{\"AccessKeyId\":\"ASIAPOD\",\"SecretAccessKey\":\"topsecret\",\"Token\":\"topsecret\",\
         \"Expiration\":\"2099-01-01T00:00:00Z\"}",
    );
    let said = run(&[
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}/v1/credentials", agent.url())),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.path().to_str().unwrap()),
        ("AWS_ENDPOINT_URL_EC2", &ec2.url()),
    ]);
    assert_says(&said, &["credentials loaded", "1 zones"]);
    assert_says(&agent.asked(), &["GET /v1/credentials", "eyJhbGciOi.e30.signature"]);
    assert_says(&ec2.asked(), &["Credential=ASIAPOD/"]);

    let refusing =
        Server::answering(400, "{\"code\":\"AccessDenied\",\"message\":\"no association\"}");
    let said = run(&[
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}/v1/credentials", refusing.url())),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.path().to_str().unwrap()),
    ]);
    assert_says(&said, &["Broken { link: Container", "400", "Pod Identity association"]);
}

#[test]
fn without_any_source_every_link_says_what_it_lacks() {
    let said = run(&[]);
    assert_says(&said, &["Nothing {", "AWS_WEB_IDENTITY_TOKEN_FILE", "environment variables:"]);
    assert_says(&said, &["instance profile (EC2 metadata service):"]);
}

#[test]
fn a_metadata_service_that_does_not_answer_is_named() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for (address, why) in [(dead, "refused"), (silent.local_addr().unwrap(), "timed out")] {
        let said = run(&[
            ("AWS_EC2_METADATA_DISABLED", "false"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &format!("http://{address}")),
        ]);
        assert_says(&said, &["instance profile (EC2 metadata service): ", why]);
    }
}
