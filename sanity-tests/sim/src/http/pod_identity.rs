//! EKS Pod Identity: a pod's token, sent to an agent on its node, buys a session of the role that
//! is associated with its service account. Source: EKS user guide, "EKS Pod Identity".

use http::{Response, StatusCode};
use http_body_util::Full;
use jiff::Timestamp;

use super::{App, Call, body, plain, session};
use crate::world::AwsError;
use crate::world::role::Caller;

/// Where the agent answers.
pub(super) const PATH: &str = "/v1/credentials";
const AUDIENCE: &str = "pods.eks.amazonaws.com";
/// Six hours.
const SECONDS: u32 = 21_600;

pub(super) fn answer(app: &App, call: &Call) -> Response<Full<bytes::Bytes>> {
    match begin(app, call) {
        Ok(text) => body(StatusCode::OK, "application/json", text),
        Err(error) => {
            tracing::info!(%error, "no session for a pod");
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
            plain(status, &error.to_string())
        }
    }
}

fn begin(app: &App, call: &Call) -> Result<String, AwsError> {
    let token = call.headers().get("authorization").and_then(|value| value.to_str().ok());
    let token = token.unwrap_or_default();
    let claims = app.verify_token(token, Timestamp::now(), Some(AUDIENCE))?;
    let caller = Caller::Pod { issuer: &claims.issuer, subject: &claims.subject };
    let credential = app.sim().with(|world, _| {
        let role = world.role_of(&caller)?;
        let name = claims.subject.replace(':', "-");
        let name = name.get(..name.len().min(64)).unwrap_or_default();
        Ok::<_, AwsError>(session::begin(app, world, &role, name, SECONDS))
    })?;
    Ok(session::document(&credential).to_string())
}
