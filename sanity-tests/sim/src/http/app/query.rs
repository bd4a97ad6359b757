//! The Query protocol, which EC2 and STS speak: parameters in a form, answers in XML.

use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;

use super::super::credentials::Credential;
use super::super::ec2::{self, Context};
use super::super::form::Form;
use super::super::xml::Xml;
use super::super::{Answer, Call, body, sigv4, sts};
use super::App;
use crate::sim::CallFailure;
use crate::world::{Action, AwsError, Service};

const XML: &str = "text/xml;charset=UTF-8";

/// A call that is understood, and signed unless its action takes a token instead.
struct Question {
    action: Action,
    form: Form,
    signer: Option<Credential>,
}

impl App {
    pub(super) async fn query(&self, call: &Call) -> Answer {
        match self.understand(call) {
            Ok(question) => self.ask(question).await,
            Err(error) => {
                tracing::info!(%error, "refused at the door");
                Some(error_answer(&error, &self.refused_id(), is_for_sts(call)))
            }
        }
    }

    /// Everything that is looked at before the account: signature, action, version.
    fn understand(&self, call: &Call) -> Result<Question, AwsError> {
        let form = form(call)?;
        let service = if is_for_sts(call) { Service::Sts } else { Service::Ec2 };
        let name = form.text("Action").unwrap_or_default();
        let signer = if name == Action::AssumeRoleWithWebIdentity.name() {
            None
        } else {
            let name = if service == Service::Sts { "sts" } else { "ec2" };
            Some(self.signer(call, name)?)
        };
        form.required("Action")?;
        let action = Action::from_name(&name).filter(|action| action.service() == service);
        let action = action.ok_or_else(|| {
            AwsError::new(
                "InvalidAction",
                format!("The action {name} is not valid for this web service."),
            )
        })?;
        if service == Service::Ec2 && form.required("Version")? != ec2::VERSION {
            return Err(AwsError::new("NoSuchVersion", "The API version is not supported."));
        }
        Ok(Question { action, form, signer })
    }

    async fn ask(&self, question: Question) -> Answer {
        let Question { action, form, signer } = question;
        let for_sts = action.service() == Service::Sts;
        let asked = self.sim().call(action, form.subject(), |world, now| {
            if for_sts {
                return sts::act(action, &form, signer.as_ref(), self, world);
            }
            let context = Context { form: &form, region: self.region() };
            ec2::act(action, &context, world, now)
        });
        match asked.await {
            Ok((xml, request_id)) if for_sts => {
                Some(answer(200, sts::document(action, xml, &request_id), &request_id))
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

/// A form may come as a query, too.
fn form(call: &Call) -> Result<Form, AwsError> {
    if *call.method() == Method::GET {
        return Form::parse(call.uri().query().unwrap_or_default().as_bytes());
    }
    Form::parse(call.body())
}

/// A call without a signature can only be for the one action that needs none.
fn is_for_sts(call: &Call) -> bool {
    match sigv4::claimed_service(call) {
        Some(service) => service == "sts",
        None => form(call).is_ok_and(|form| {
            form.text("Action").is_some_and(|name| name == Action::AssumeRoleWithWebIdentity.name())
        }),
    }
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
