//! The main port: EC2, STS, and the admin interface below `/_admin/`.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use jiff::Timestamp;
use tokio::net::{TcpListener, UnixListener};

use super::credentials::{Credential, Credentials};
use super::ec2::{self, Context};
use super::form::Form;
use super::xml::Xml;
use super::{Answer, Call, Handler, admin, body, plain, serve, serve_unix, sigv4, sts};
use crate::sim::{CallFailure, Sim};
use crate::world::{Action, AwsError};

const XML: &str = "text/xml;charset=UTF-8";

/// A simulated AWS that answers HTTP.
#[derive(Debug, Clone)]
pub struct App {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    sim: Sim,
    region: String,
    credentials: Mutex<Credentials>,
    latency: Mutex<Duration>,
}

impl App {
    /// An AWS in one region around a world. No access key is known yet.
    #[must_use]
    pub fn new(sim: Sim, region: &str) -> Self {
        let shared = Shared {
            sim,
            region: region.to_owned(),
            credentials: Mutex::default(),
            latency: Mutex::new(Duration::from_millis(15)),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The world behind.
    #[must_use]
    pub fn sim(&self) -> &Sim {
        &self.shared.sim
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.shared.region
    }

    /// How long a call takes, beside what the world makes of it; 15 ms at first.
    pub fn set_latency(&self, latency: Duration) {
        *self.shared.latency.lock().unwrap_or_else(PoisonError::into_inner) = latency;
    }

    /// Adds or replaces an access key.
    pub fn set_credential(&self, credential: Credential) {
        self.credentials(|all| all.set(credential));
    }

    /// Forgets an access key.
    pub fn remove_credential(&self, access_key: &str) {
        self.credentials(|all| all.remove(access_key));
    }

    fn credentials<T>(&self, act: impl FnOnce(&mut Credentials) -> T) -> T {
        act(&mut self.shared.credentials.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers connections until the listener fails.
    pub async fn serve(self, listener: TcpListener) -> io::Error {
        serve(listener, Arc::new(self)).await
    }

    /// The same on a Unix socket, which other network namespaces reach.
    pub async fn serve_unix(self, listener: UnixListener) -> io::Error {
        serve_unix(listener, Arc::new(self)).await
    }

    async fn query(&self, call: &Call) -> Answer {
        let latency = *self.shared.latency.lock().unwrap_or_else(PoisonError::into_inner);
        tokio::time::sleep(latency / 2).await;
        let for_sts = sigv4::claimed_service(call).is_some_and(|service| service == "sts");
        let answer = match self.understand(call, for_sts) {
            Ok(question) => self.ask(question).await,
            Err(error) => {
                tracing::info!(%error, "refused at the door");
                Some(error_answer(&error, &self.refused_id(), for_sts))
            }
        };
        tokio::time::sleep(latency.saturating_sub(latency / 2)).await;
        answer
    }

    /// A refused call has a request id too, though the world never heard of it.
    fn refused_id(&self) -> String {
        self.sim().with(|world, _| world.request_id())
    }

    /// Everything that is looked at before the account: signature, action, version.
    fn understand(&self, call: &Call, for_sts: bool) -> Result<Question, AwsError> {
        let service = if for_sts { "sts" } else { "ec2" };
        let scope = sigv4::Scope { region: self.region(), service };
        let now = Timestamp::now();
        let signer = self.credentials(|known| sigv4::verify(call, known, scope, now))?;
        let form = Form::parse(call.body())?;
        let name = form.required("Action")?;
        let action = Action::from_name(&name)
            .filter(|action| (*action == Action::GetCallerIdentity) == for_sts)
            .ok_or_else(|| {
                AwsError::new(
                    "InvalidAction",
                    format!("The action {name} is not valid for this web service."),
                )
            })?;
        if !for_sts && form.required("Version")? != ec2::VERSION {
            return Err(AwsError::new("NoSuchVersion", "The API version is not supported."));
        }
        Ok(Question { action, form, signer })
    }

    async fn ask(&self, question: Question) -> Answer {
        let Question { action, form, signer } = question;
        let for_sts = action == Action::GetCallerIdentity;
        let asked = self.sim().call(action, form.subject(), |world, now| {
            if for_sts {
                return Ok(Xml::default());
            }
            let context = Context { form: &form, region: self.region() };
            ec2::act(action, &context, world, now)
        });
        match asked.await {
            Ok((_, request_id)) if for_sts => {
                Some(answer(200, sts::caller_identity(&signer, &request_id), &request_id))
            }
            Ok((xml, request_id)) => {
                self.until_captured(action, &form).await;
                let inner = Xml::default().text("requestId", &request_id).concat(xml);
                let root = format!("{}Response", action.name());
                let namespace = format!("http://ec2.amazonaws.com/doc/{}/", ec2::VERSION);
                Some(answer(200, inner.document(&root, &namespace), &request_id))
            }
            Err(CallFailure::Refused { error, request_id }) => {
                Some(error_answer(&error, &request_id, for_sts))
            }
            Err(CallFailure::Lost) => None,
        }
    }

    /// A snapshot or copy holds what was on the disk when it was asked for: the answer waits
    /// until a device backend has read it.
    async fn until_captured(&self, action: Action, form: &Form) {
        let source = match action {
            Action::CreateSnapshot => form.text("VolumeId"),
            Action::CopyVolumes => form.text("SourceVolumeId"),
            _ => None,
        };
        if let Some(source) = source {
            self.sim().until_read(&source).await;
        }
    }
}

/// A call that is understood and signed.
struct Question {
    action: Action,
    form: Form,
    signer: Credential,
}

fn answer(status: u16, text: String, request_id: &str) -> Response<Full<bytes::Bytes>> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = body(status, XML, text);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

fn error_answer(error: &AwsError, request_id: &str, for_sts: bool) -> Response<Full<bytes::Bytes>> {
    if for_sts {
        return answer(error.status, sts::error(error, request_id), request_id);
    }
    let inner = Xml::default().text("Code", &error.code).text("Message", &error.message);
    let document = Xml::default()
        .node("Errors", Xml::default().node("Error", inner))
        .text("RequestID", request_id)
        .document("Response", "");
    answer(error.status, document, request_id)
}

impl Handler for App {
    async fn answer(&self, call: Call) -> Answer {
        if call.uri().path().starts_with(admin::PREFIX) {
            return Some(admin::answer(self, &call));
        }
        if call.method() != Method::POST || call.uri().path() != "/" {
            return Some(plain(StatusCode::NOT_FOUND, "POST / or see /_admin/\n"));
        }
        self.query(&call).await
    }
}
