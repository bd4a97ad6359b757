//! The endpoint of a container agent, which the mount option `awscredsuri` names by its path. The
//! SDK's provider takes the path from the environment only.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Credentials, CredentialsError};

/// The address of the agent. Source: Amazon ECS developer guide, "Task IAM role".
const AGENT: &str = "169.254.170.2:80";
const PATIENCE: Duration = Duration::from_secs(3);
const LONGEST: u64 = 64 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

pub(super) async fn fetch(path: &str) -> Result<Credentials, CredentialsError> {
    let answer = timeout(PATIENCE, ask(AGENT, path)).await;
    answer
        .map_err(|_elapsed| format!("no answer within {PATIENCE:?}"))
        .and_then(|answer| answer)
        .map_err(|reason| CredentialsError::Broken {
            method: "container endpoint",
            reason: format!("http://169.254.170.2{path}: {reason}"),
        })
}

async fn ask(agent: &str, path: &str) -> Result<Credentials, String> {
    // A path is one token of a request's first line: a space or a line end would start another.
    let clean = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
    if !clean {
        return Err("want a path that begins with / and has no spaces".to_owned());
    }
    let answer = exchange(agent, path).await.map_err(|error| error.to_string())?;
    let (head, body) = split(&answer).ok_or("no HTTP answer")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        return Err(format!("status {status}"));
    }
    // The parser's words could quote the secret; its position is enough.
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|error| format!("no credentials in the answer (column {})", error.column()))?;
    let expiry = answer.expiration.map(|time| time.parse::<Timestamp>()).transpose();
    Ok(Credentials {
        access_key_id: answer.access_key_id,
        secret_access_key: answer.secret_access_key,
        session_token: answer.token,
        expiry: expiry.map_err(|_no_time| "Expiration is no time")?,
    })
}

/// HTTP 1.0, so that the answer is neither chunked nor kept open.
async fn exchange(agent: &str, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(agent).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: 169.254.170.2\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn split(answer: &[u8]) -> Option<(&str, &[u8])> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    Some((head.lines().next()?, answer.get(end + 4..)?))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn agent(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /v2/credentials/x HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn an_agent_gives_credentials_with_their_end() {
        let answer = "HTTP/1.0 200 OK\r\nA: b\r\n\r\n{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\
                      \"S\",\"Token\":\"T\",\"Expiration\":\"2026-07-01T12:00:00Z\"}";
        let credentials = ask(&agent(answer).await, "/v2/credentials/x").await.unwrap();
        assert_eq!(credentials.access_key_id, "A");
        assert_eq!(credentials.session_token.as_deref(), Some("T"));
        assert_eq!(credentials.expiry, Some("2026-07-01T12:00:00Z".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_refusal_is_named_and_a_broken_answer_is_not_quoted() {
        let refused =
            ask(&agent("HTTP/1.0 403 Forbidden\r\n\r\n").await, "/v2/credentials/x").await;
        assert_eq!(refused.unwrap_err(), "status 403");
        let torn = agent("HTTP/1.0 200 OK\r\n\r\n{\"AccessKeyId\":\"hidden").await;
        let error = ask(&torn, "/v2/credentials/x").await.unwrap_err();
        assert!(error.contains("column") && !error.contains("hidden"), "{error}");
    }

    #[tokio::test]
    async fn a_path_cannot_smuggle_a_second_request() {
        for path in ["x", "/a b", "/a\r\nHost: b"] {
            assert!(ask("127.0.0.1:1", path).await.unwrap_err().starts_with("want a path"));
        }
    }
}
