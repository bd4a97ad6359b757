//! The main port: EC2, EFS, STS, and the admin interface below `/_admin/`.

mod query;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use jiff::Timestamp;
use tokio::net::{TcpListener, UnixListener};

use super::credentials::{Credential, Credentials};
use super::web_identity::{Issuer, Issuers};
use super::{Answer, Call, Handler, admin, efs, plain, pod_identity, serve, serve_unix, sigv4};
use crate::sim::{CallFailure, Sim};
use crate::targets::Registry;
use crate::world::AwsError;

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
    issuers: Mutex<Issuers>,
    targets: Registry,
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
            issuers: Mutex::default(),
            targets: Registry::default(),
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

    /// The mount targets that run.
    #[must_use]
    pub fn targets(&self) -> &Registry {
        &self.shared.targets
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

    /// Adds or replaces an issuer of web identity tokens, with its keys.
    pub fn set_issuer(&self, issuer: Issuer) {
        self.issuers(|all| all.insert(issuer.issuer.clone(), issuer));
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

    pub(super) fn issuers<T>(&self, act: impl FnOnce(&mut Issuers) -> T) -> T {
        act(&mut self.shared.issuers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers a call within the time that calls take.
    async fn timed(&self, answer: impl Future<Output = Answer>) -> Answer {
        let latency = *self.shared.latency.lock().unwrap_or_else(PoisonError::into_inner);
        tokio::time::sleep(latency / 2).await;
        let answer = answer.await;
        tokio::time::sleep(latency.saturating_sub(latency / 2)).await;
        answer
    }

    /// A refused call has a request id too, though the world never heard of it.
    fn refused_id(&self) -> String {
        self.sim().with(|world, _| world.request_id())
    }

    /// Verifies whose call it is.
    fn signer(&self, call: &Call, service: &str) -> Result<Credential, AwsError> {
        let scope = sigv4::Scope { region: self.region(), service };
        self.credentials(|known| sigv4::verify(call, known, scope, Timestamp::now()))
    }

    /// Whose access key this is, if it is known and was not forgotten.
    #[must_use]
    pub fn credential(&self, access_key: &str) -> Option<Credential> {
        self.credentials(|known| known.get(access_key).cloned())
    }

    async fn efs(&self, call: &Call) -> Answer {
        let understood =
            self.signer(call, efs::SERVICE).and_then(|_signer| efs::Question::parse(call));
        let question = match understood {
            Ok(question) => question,
            Err(error) => {
                tracing::info!(%error, "refused at the door");
                return Some(efs::error(&error, &self.refused_id()));
            }
        };
        let asked = self.sim().call(question.action(), question.subject(), |world, now| {
            question.act(&efs::Context { region: self.region() }, world, now)
        });
        match asked.await {
            Ok((content, request_id)) => Some(efs::answer(content.as_ref(), &request_id)),
            Err(CallFailure::Refused { error, request_id }) => {
                Some(efs::error(&error, &request_id))
            }
            Err(CallFailure::Lost) => None,
        }
    }
}

impl Handler for App {
    async fn answer(&self, call: Call) -> Answer {
        if call.uri().path().starts_with(admin::PREFIX) {
            return Some(admin::answer(self, &call));
        }
        if call.uri().path() == pod_identity::PATH {
            return Some(pod_identity::answer(self, &call));
        }
        if call.uri().path().starts_with(efs::PREFIX) {
            return self.timed(self.efs(&call)).await;
        }
        if call.uri().path() != "/" || !matches!(*call.method(), Method::POST | Method::GET) {
            return Some(plain(StatusCode::NOT_FOUND, "POST / or see /_admin/\n"));
        }
        self.timed(self.query(&call)).await
    }
}
