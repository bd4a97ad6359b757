//! STS: who calls, and sessions for roles. Source: STS API reference.

use jiff::Timestamp;

use super::credentials::Credential;
use super::form::Form;
use super::shape::ACCOUNT;
use super::xml::Xml;
use super::{App, session};
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
    begin(&role, form, app, world)
}

fn with_web_identity(form: &Form, app: &App, world: &mut World) -> Result<Xml, AwsError> {
    let arn = form.required("RoleArn")?;
    let token = form.required("WebIdentityToken")?;
    let claims = app.verify_token(&token, Timestamp::now(), None)?;
    let audiences = claims.audiences();
    let caller = Caller::WebIdentity {
        issuer: &claims.issuer,
        subject: &claims.subject,
        audiences: &audiences,
    };
    let role = world.assume(&arn, &caller)?;
    Ok(begin(&role, form, app, world)?
        .text("SubjectFromWebIdentityToken", &claims.subject)
        .maybe("Audience", audiences.first())
        .text("Provider", &claims.issuer))
}

/// Makes a session's credentials known and writes them.
fn begin(role: &RoleSeed, form: &Form, app: &App, world: &mut World) -> Result<Xml, AwsError> {
    let name = form.required("RoleSessionName")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if !(2..=64).contains(&name.len()) || !name.chars().all(fits) {
        return Err(invalid(format!("RoleSessionName {name:?} has wrong characters or length.")));
    }
    let asked = form.number("DurationSeconds")?.unwrap_or(USUAL_SECONDS);
    if !(LEAST_SECONDS..=role.max_session_seconds.max(USUAL_SECONDS)).contains(&asked) {
        return Err(invalid(format!("DurationSeconds {asked} is out of the role's bounds.")));
    }
    let credential = session::begin(app, world, role, &name, asked);
    let shown = Xml::default()
        .text("AccessKeyId", &credential.access_key)
        .text("SecretAccessKey", &credential.secret)
        .maybe("SessionToken", credential.session_token.as_ref())
        .text("Expiration", session::expiration(&credential));
    let user = Xml::default()
        .text("Arn", credential.principal())
        .text("AssumedRoleId", format!("{}:{name}", credential.access_key.replace("ASIA", "AROA")));
    Ok(Xml::default().node("Credentials", shown).node("AssumedRoleUser", user))
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
