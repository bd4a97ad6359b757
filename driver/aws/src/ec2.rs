//! EC2 behind the port: how every call is made, timed, counted and logged.

mod calls;
mod port;
mod request;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::RequestId;
use csi_core::ApiError;
use prometheus_client::registry::Registry;
use tokio::sync::OnceCell;

use crate::action::{Action, Service};
use crate::caller::Caller;
use crate::connect::{Config, ConnectError, Connected, Settings, connected};
use crate::credentials::CredentialsError;

/// How long [`Ec2::check_credentials`] waits for each answer.
const CHECK: Duration = Duration::from_secs(3);

/// EC2. Clones share connections, credentials and pacing.
#[derive(Clone)]
pub struct Ec2(Arc<Shared>);

struct Shared {
    settings: Settings,
    /// Made at first use: reading the system's root certificates takes milliseconds, which the
    /// start of the process need not wait for.
    connected: OnceCell<Connected>,
    caller: Caller,
}

impl fmt::Debug for Ec2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ec2").finish_non_exhaustive()
    }
}

impl Ec2 {
    /// A client by `config`, with its metrics in `registry`. Nothing is read or sent yet.
    ///
    /// # Errors
    /// Settings that no client can be made of.
    pub fn connect(config: &Config, registry: &mut Registry) -> Result<Self, ConnectError> {
        Ok(Self(Arc::new(Shared {
            settings: Settings::check(config, Service::Ec2)?,
            connected: OnceCell::new(),
            caller: Caller::new(Service::Ec2, &config.rates, registry),
        })))
    }

    async fn connected(&self) -> &Connected {
        let make = || Box::pin(connected(&self.0.settings));
        self.0.connected.get_or_init(make).await
    }

    async fn client(&self) -> &aws_sdk_ec2::Client {
        &self.connected().await.client
    }

    /// Makes the client and loads the credentials, so that the first call need not, and names the broken link of their
    /// chain within three seconds. EC2 itself is not asked.
    ///
    /// # Errors
    /// Why there are no credentials. Later calls try again.
    pub async fn check_credentials(&self) -> Result<(), CredentialsError> {
        self.connected().await.credentials.check(CHECK).await
    }

    /// Makes a call when its turn has come, again while EC2 refuses it for its rate.
    async fn call<T, E, F>(
        &self,
        action: Action,
        send: impl Fn() -> F + Send + Sync,
    ) -> Result<T, ApiError>
    where
        T: RequestId + Send,
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E>>> + Send,
    {
        self.0.caller.call(action, send).await
    }
}

#[cfg(test)]
mod tests;
