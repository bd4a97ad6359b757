//! Sessions of roles, however they are come by: STS, Pod Identity, an instance's metadata.

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::App;
use super::credentials::Credential;
use super::shape::ACCOUNT;
use crate::world::World;
use crate::world::role::RoleSeed;

/// Makes a session of a role, for so many seconds unless the role says otherwise: every service
/// knows it from now on.
pub(super) fn begin(
    app: &App,
    world: &mut World,
    role: &RoleSeed,
    name: &str,
    seconds: u32,
) -> Credential {
    let seconds = role.session_seconds.unwrap_or(seconds);
    let expires = Timestamp::now().as_second().saturating_add(i64::from(seconds));
    let unique = world.request_id();
    let id = unique.replace('-', "").to_uppercase();
    let secret = hex::encode(Sha256::digest(format!("secret of {unique}")));
    let account = role.arn.split(':').nth(4).unwrap_or(ACCOUNT);
    let arn = format!("arn:aws:sts::{account}:assumed-role/{}/{name}", role.name());
    let credential = Credential {
        access_key: format!("ASIA{}", id.get(..16).unwrap_or_default()),
        // As long as STS's, which is what makes certificates with it large.
        session_token: Some(format!("SimulatedSession/{unique}/{}", secret.repeat(12))),
        secret,
        arn: Some(arn),
        expires: Some(expires),
    };
    app.set_credential(credential.clone());
    credential
}

/// When a session ends, as AWS writes it.
pub(super) fn expiration(credential: &Credential) -> String {
    let seconds = credential.expires.unwrap_or(i64::MAX);
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The document in which metadata and container endpoints hand a session out. Source: EC2 user
/// guide, "Retrieve security credentials from instance metadata".
pub(super) fn document(credential: &Credential) -> Value {
    json!({
        "Code": "Success",
        "Type": "AWS-HMAC",
        "LastUpdated": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "AccessKeyId": credential.access_key,
        "SecretAccessKey": credential.secret,
        "Token": credential.session_token,
        "Expiration": expiration(credential),
        "AccountId": ACCOUNT,
    })
}
