//! STS: who calls, and sessions for roles. Source: STS API reference.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::App;
use super::credentials::Credential;
use super::form::Form;
use super::shape::ACCOUNT;
use super::xml::Xml;
use crate::world::role::{Caller, RoleSeed};
use crate::world::{Action, AwsError, World};

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// `DurationSeconds` at least and if absent.
const LEAST_SECONDS: u32 = 900;
const USUAL_SECONDS: u32 = 3_600;

/// Answers an action: what stands in its `Result` element.
pub(super) fn act(
    action: Action,
    form: &Form,
    signer: Option<&Credential>,
    app: &App,
    world: &mut World,
) -> Result<Xml, AwsError> {
    match action {
        Action::AssumeRole => assume_role(form, app, world),
        Action::AssumeRoleWithWebIdentity => with_web_identity(form, app, world),
        _ => Ok(signer.map(caller_identity).unwrap_or_default()),
    }
}

/// The whole answer.
pub(super) fn document(action: Action, result: Xml, request_id: &str) -> String {
    let name = action.name();
    Xml::default()
        .node(&format!("{name}Result"), result)
        .node("ResponseMetadata", Xml::default().text("RequestId", request_id))
        .document(&format!("{name}Response"), NAMESPACE)
}

fn caller_identity(credential: &Credential) -> Xml {
    Xml::default()
        .text("Arn", credential.principal())
        .text("UserId", &credential.access_key)
        .text("Account", ACCOUNT)
}

fn assume_role(form: &Form, app: &App, world: &mut World) -> Result<Xml, AwsError> {
    let external_id = form.text("ExternalId");
    let caller = Caller::Signed { external_id: external_id.as_deref() };
    let role = world.assume(&form.required("RoleArn")?, &caller)?;
    session(&role, form, app, world)
}

fn with_web_identity(form: &Form, app: &App, world: &mut World) -> Result<Xml, AwsError> {
    let arn = form.required("RoleArn")?;
    let token = form.required("WebIdentityToken")?;
    let claims = app.verify_token(&token, Timestamp::now())?;
    let audiences = claims.audiences();
    let caller = Caller::WebIdentity {
        issuer: &claims.issuer,
        subject: &claims.subject,
        audiences: &audiences,
    };
    let role = world.assume(&arn, &caller)?;
    let session = session(&role, form, app, world)?;
    Ok(session
        .text("SubjectFromWebIdentityToken", &claims.subject)
        .maybe("Audience", audiences.first())
        .text("Provider", &claims.issuer))
}

/// Makes a session's credentials known and writes them.
fn session(role: &RoleSeed, form: &Form, app: &App, world: &mut World) -> Result<Xml, AwsError> {
    let name = form.required("RoleSessionName")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if !(2..=64).contains(&name.len()) || !name.chars().all(fits) {
        return Err(invalid(format!("RoleSessionName {name:?} has wrong characters or length.")));
    }
    let asked = form.number("DurationSeconds")?.unwrap_or(USUAL_SECONDS);
    if !(LEAST_SECONDS..=role.max_session_seconds.max(USUAL_SECONDS)).contains(&asked) {
        return Err(invalid(format!("DurationSeconds {asked} is out of the role's bounds.")));
    }
    let seconds = role.session_seconds.unwrap_or(asked);
    let now = Timestamp::now().as_second();
    let expires = now.saturating_add(i64::from(seconds));
    let path = role.arn.rsplit('/').next().unwrap_or_default();
    let unique = world.request_id();
    let arn = format!("arn:aws:sts::{}:assumed-role/{path}/{name}", account(&role.arn));
    let id = unique.replace('-', "").to_uppercase();
    let secret = hex::encode(Sha256::digest(format!("secret of {unique}")));
    let credential = Credential {
        access_key: format!("ASIA{}", id.get(..16).unwrap_or_default()),
        // As long as STS's, which is what makes certificates with it large.
        session_token: Some(format!("SimulatedSession/{unique}/{}", secret.repeat(12))),
        secret,
        arn: Some(arn.clone()),
        expires: Some(expires),
    };
    let expiration = Timestamp::from_second(expires).unwrap_or(Timestamp::MAX);
    let shown = Xml::default()
        .text("AccessKeyId", &credential.access_key)
        .text("SecretAccessKey", &credential.secret)
        .maybe("SessionToken", credential.session_token.as_ref())
        .text("Expiration", expiration.strftime("%Y-%m-%dT%H:%M:%SZ"));
    let user = Xml::default()
        .text("Arn", &arn)
        .text("AssumedRoleId", format!("AROA{}:{name}", id.get(16..).unwrap_or_default()));
    app.set_credential(credential);
    Ok(Xml::default().node("Credentials", shown).node("AssumedRoleUser", user))
}

fn account(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or(ACCOUNT)
}

fn invalid(message: String) -> AwsError {
    AwsError::new("ValidationError", message)
}

/// STS's error document.
pub(super) fn error(error: &AwsError, request_id: &str) -> String {
    let inner = Xml::default()
        .text("Type", if error.status < 500 { "Sender" } else { "Receiver" })
        .text("Code", &error.code)
        .text("Message", &error.message);
    Xml::default()
        .node("Error", inner)
        .text("RequestId", request_id)
        .document("ErrorResponse", NAMESPACE)
}
