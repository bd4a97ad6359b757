//! Credentials by their method, kept until shortly before they end. They are fetched here and not
//! passed in, so that a mount's certificate is renewed while the node plugin is down.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::{StaticConfiguration, WebIdentityTokenCredentialsProvider};
use aws_config::{BehaviorVersion, Region as SdkRegion};
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError as ProviderError;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use jiff::Timestamp;
use tokio::time::timeout;

use super::{Credentials, endpoint};
use crate::identity::{CredentialsMethod, Region};

/// One connection attempt; two of them and the pause name a broken link within three seconds.
const CONNECT: Duration = Duration::from_millis(1_200);
const ATTEMPTS: u32 = 2;
const EXCHANGE: Duration = Duration::from_secs(5);
/// The metadata service is on the same machine.
const METADATA: Duration = Duration::from_millis(500);
/// All sources together.
const PATIENCE: Duration = Duration::from_secs(8);
/// Renewal begins this long before the end.
const EARLY: Duration = Duration::from_mins(5);
/// The session's name in the trail of the account.
const SESSION: &str = "efs-tunnel";

/// Why there are no credentials. No variant holds a secret, a token or a signature.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A source is set up, but does not give any.
    #[error("{method}: {reason}")]
    Broken {
        /// The source.
        method: &'static str,
        /// What went wrong.
        reason: String,
    },
    /// A source took too long.
    #[error("{method}: no credentials within {PATIENCE:?}; check the network and the proxy")]
    TimedOut {
        /// The source.
        method: &'static str,
    },
    /// No source is set up.
    #[error(
        "no source of credentials is set up ({tried}); give the tunnel's service account a role by \
         Pod Identity or eks.amazonaws.com/role-arn, or the instance a profile"
    )]
    Nothing {
        /// The sources with what each lacks.
        tried: String,
    },
}

/// The credentials of a process.
#[derive(Debug, Default)]
pub struct Wallet {
    pockets: Mutex<HashMap<(CredentialsMethod, Region), Arc<Pocket>>>,
}

/// One source's. Its lock is held while they are fetched: the others who want the same wait for
/// what the first one gets, and nobody waits for another source.
type Pocket = tokio::sync::Mutex<Option<Credentials>>;

impl Wallet {
    /// Valid credentials, from memory if they hold for five minutes more.
    pub async fn credentials(
        &self,
        method: &CredentialsMethod,
        region: &Region,
    ) -> Result<Credentials, CredentialsError> {
        let pocket = self.pocket(method, region);
        let mut held = pocket.lock().await;
        let answer = renewed(&mut held, method, region).await;
        drop(held);
        answer
    }

    fn pocket(&self, method: &CredentialsMethod, region: &Region) -> Arc<Pocket> {
        let mut pockets = self.pockets.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pockets.entry((method.clone(), region.clone())).or_default())
    }
}

/// The held credentials, or new ones that are held from now on.
async fn renewed(
    held: &mut Option<Credentials>,
    method: &CredentialsMethod,
    region: &Region,
) -> Result<Credentials, CredentialsError> {
    let now = Timestamp::now();
    if let Some(credentials) = held.as_ref().filter(|held| held.hold(EARLY, now)) {
        return Ok(credentials.clone());
    }
    let fetched = timeout(PATIENCE, fetch(method, region)).await;
    let late = |_elapsed| Err(CredentialsError::TimedOut { method: label(method) });
    match (fetched.unwrap_or_else(late), held.as_ref()) {
        (Ok(credentials), _) => {
            *held = Some(credentials.clone());
            Ok(credentials)
        }
        (Err(error), Some(old)) if old.hold(Duration::ZERO, now) => {
            tracing::warn!(%error, "AWS credentials were not renewed; the old ones still hold");
            Ok(old.clone())
        }
        (Err(error), _) => Err(error),
    }
}

const fn label(method: &CredentialsMethod) -> &'static str {
    match method {
        CredentialsMethod::Default => "default sources",
        CredentialsMethod::WebIdentity { .. } => "web identity",
        CredentialsMethod::Container { .. } => "container endpoint",
        CredentialsMethod::Profile { .. } => "profile",
    }
}

async fn fetch(
    method: &CredentialsMethod,
    region: &Region,
) -> Result<Credentials, CredentialsError> {
    let config = config(region);
    let provider: Box<dyn ProvideCredentials> = match method {
        CredentialsMethod::Default => return walk(&config).await,
        CredentialsMethod::Container { path } => return endpoint::fetch(path).await,
        CredentialsMethod::WebIdentity { role_arn, token_file } => Box::new(
            WebIdentityTokenCredentialsProvider::builder()
                .configure(&config)
                .static_configuration(StaticConfiguration {
                    web_identity_token_file: token_file.clone(),
                    role_arn: role_arn.clone(),
                    session_name: SESSION.to_owned(),
                })
                .build(),
        ),
        CredentialsMethod::Profile { name } => Box::new(
            ProfileFileCredentialsProvider::builder().configure(&config).profile_name(name).build(),
        ),
    };
    match provider.provide_credentials().await {
        Ok(credentials) => Ok(ours(&credentials)),
        Err(error) => Err(broken(label(method), &error)),
    }
}

/// The first source that is set up. Web identity and Pod Identity stand before the instance's role,
/// which every pod could use.
async fn walk(config: &ProviderConfig) -> Result<Credentials, CredentialsError> {
    let metadata = imds::Client::builder()
        .configure(config)
        .max_attempts(ATTEMPTS)
        .connect_timeout(METADATA)
        .read_timeout(METADATA)
        .build();
    let sources: [(&'static str, Box<dyn ProvideCredentials>); 4] = [
        ("environment", Box::new(EnvironmentVariableCredentialsProvider::new())),
        (
            "web identity",
            Box::new(WebIdentityTokenCredentialsProvider::builder().configure(config).build()),
        ),
        (
            "container endpoint",
            Box::new(EcsCredentialsProvider::builder().configure(config).build()),
        ),
        (
            "instance profile",
            Box::new(
                imds::credentials::ImdsCredentialsProvider::builder()
                    .imds_client(metadata)
                    .configure(config)
                    .build(),
            ),
        ),
    ];
    let mut tried = Vec::new();
    for (label, source) in &sources {
        match source.provide_credentials().await {
            Ok(credentials) => return Ok(ours(&credentials)),
            Err(error @ ProviderError::CredentialsNotLoaded(_)) => {
                tried.push(format!("{label}: {}", causes(&error)));
            }
            Err(error) => return Err(broken(label, &error)),
        }
    }
    Err(CredentialsError::Nothing { tried: tried.join("; ") })
}

/// STS is asked at the endpoint of the region: the global one is far away and may be blocked.
fn config(region: &Region) -> ProviderConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(EXCHANGE)
        .build();
    ProviderConfig::default()
        .with_region(Some(SdkRegion::new(region.to_string())))
        .with_behavior_version(Some(BehaviorVersion::v2026_01_12()))
        .with_timeout_config(timeouts)
        .with_retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
}

fn ours(credentials: &aws_credential_types::Credentials) -> Credentials {
    Credentials {
        access_key_id: credentials.access_key_id().to_owned(),
        secret_access_key: credentials.secret_access_key().to_owned(),
        session_token: credentials.session_token().map(str::to_owned),
        expiry: credentials.expiry().and_then(|expiry| Timestamp::try_from(expiry).ok()),
    }
}

fn broken(method: &'static str, error: &ProviderError) -> CredentialsError {
    CredentialsError::Broken { method, reason: causes(error) }
}

/// The causes below the provider's own words, which only say that it failed.
fn causes(error: &ProviderError) -> String {
    error.source().map_or_else(|| error.to_string(), crate::chain)
}
