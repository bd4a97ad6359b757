//! EFS behind the port: one method, one API call.

mod parse;
mod port;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_efs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_efs::operation::RequestId;
use csi_core::ApiError;
use csi_core::efs::Role;
use prometheus_client::registry::Registry;
use tokio::sync::OnceCell;

use crate::action::{Action, Service};
use crate::caller::Caller;
use crate::connect::{Base, Config, ConnectError, Settings, base, efs_client};
use crate::credentials::{Cache, Chain, CredentialsError};

/// How long [`Efs::check_credentials`] waits for each answer.
const CHECK: Duration = Duration::from_secs(3);

/// EFS. Clones share connections, credentials and pacing.
#[derive(Clone)]
pub struct Efs {
    shared: Arc<Shared>,
    /// As whom it is called, and the client for that, made at first use.
    identity: Arc<Identity>,
}

struct Shared {
    settings: Settings,
    /// Made at first use: reading the system's root certificates takes milliseconds, which the
    /// start of the process need not wait for.
    base: OnceCell<Base>,
    caller: Caller,
}

struct Identity {
    role: Option<Role>,
    client: OnceCell<aws_sdk_efs::Client>,
}

impl Identity {
    fn new(role: Option<Role>) -> Arc<Self> {
        Arc::new(Self { role, client: OnceCell::new() })
    }
}

impl fmt::Debug for Efs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Efs").field("role", &self.identity.role).finish_non_exhaustive()
    }
}

impl Efs {
    /// A client by `config`, with its metrics in `registry`. Nothing is read or sent yet.
    ///
    /// # Errors
    /// Settings that no client can be made of.
    pub fn connect(config: &Config, registry: &mut Registry) -> Result<Self, ConnectError> {
        let shared = Shared {
            settings: Settings::check(config, Service::Efs)?,
            base: OnceCell::new(),
            caller: Caller::new(Service::Efs, &config.rates, registry),
        };
        Ok(Self { shared: Arc::new(shared), identity: Identity::new(None) })
    }

    async fn base(&self) -> &Base {
        let make = || Box::pin(base(&self.shared.settings));
        self.shared.base.get_or_init(make).await
    }

    async fn client(&self) -> &aws_sdk_efs::Client {
        let make = || Box::pin(self.new_client());
        self.identity.client.get_or_init(make).await
    }

    async fn new_client(&self) -> aws_sdk_efs::Client {
        let base = self.base().await;
        let role = match &self.identity.role {
            None => None,
            Some(role) => {
                let own = base.credentials.clone();
                Some(Cache::new(Chain::of_role(&base.config, role, own).await))
            }
        };
        efs_client(base, role)
    }

    /// Makes the client and loads the credentials, so that the first call need not, and names the
    /// broken link of their chain within three seconds. EFS itself is not asked.
    ///
    /// # Errors
    /// Why there are no credentials. Later calls try again.
    pub async fn check_credentials(&self) -> Result<(), CredentialsError> {
        self.base().await.credentials.check(CHECK).await
    }

    async fn call<T, E, F>(
        &self,
        action: Action,
        send: impl Fn() -> F + Send + Sync,
    ) -> Result<T, ApiError>
    where
        T: RequestId + Send,
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E>>> + Send,
    {
        self.shared.caller.call(action, send).await
    }
}
