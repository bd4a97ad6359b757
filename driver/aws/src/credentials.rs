//! Where the driver's AWS credentials come from, link by link, with the broken link named.
//!
//! The links and their order are those of the SDK's default chain; they are chained here because
//! the SDK's own chain does not say which link failed, and waits far longer than a person who
//! looks at a pod that does not start.

mod cache;
mod explain;

use std::sync::Mutex;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError as ProviderError;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use csi_core::efs::Role;
use tokio::time::timeout;

pub(crate) use cache::Cache;

/// One connection attempt. Two of them and the pause between fit into the three seconds within
/// which a broken link shall be named.
const CONNECT: Duration = Duration::from_millis(1_200);
const ATTEMPTS: u32 = 2;
const BACKOFF: Duration = Duration::from_millis(200);
/// One whole exchange with STS or a container's endpoint.
const EXCHANGE: Duration = Duration::from_secs(5);
/// The metadata service is on the same machine.
const METADATA: Duration = Duration::from_millis(500);
const METADATA_ALL: Duration = Duration::from_millis(2_500);
/// The whole chain, below the time that a call to EC2 has.
const CHAIN: Duration = Duration::from_secs(8);

/// A source of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    Environment,
    /// The files `~/.aws/config` and `~/.aws/credentials`.
    Profile,
    /// `AWS_ROLE_ARN` and `AWS_WEB_IDENTITY_TOKEN_FILE`: IAM roles for service accounts.
    WebIdentity,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`: EKS Pod Identity.
    Container,
    /// The instance's role, from its metadata service.
    InstanceProfile,
    /// A role of another account, assumed with the driver's own credentials.
    Role,
}

impl Link {
    /// What to look at when the link is broken.
    fn advice(self) -> &'static str {
        match self {
            Self::Environment | Self::Profile => "check what they set",
            Self::WebIdentity => "check the network, the proxy and the role's trust policy",
            Self::Container => "is there a Pod Identity association for the service account?",
            Self::InstanceProfile => {
                "is a role attached to the instance, and its metadata hop limit 2 or more?"
            }
            Self::Role => {
                "check awsRoleArn and externalId in the Secret, the role's trust policy, and that \
                 the driver's role may do sts:AssumeRole"
            }
        }
    }
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Environment => "environment variables",
            Self::Profile => "shared configuration files",
            Self::WebIdentity => "web identity (IAM role for service accounts)",
            Self::Container => "container endpoint (EKS Pod Identity)",
            Self::InstanceProfile => "instance profile (EC2 metadata service)",
            Self::Role => "role of the Secret (AssumeRole)",
        })
    }
}

/// Why there are no credentials. No variant holds a secret, a token or a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The projected token cannot be read.
    #[error(
        "web identity: the token file {path}: {reason}; is eks.amazonaws.com/role-arn on the \
         service account, and was the pod made after it was put there?"
    )]
    TokenFile {
        /// Where it should be.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// STS refused the token or the role.
    #[error(
        "web identity: AssumeRoleWithWebIdentity of {role} answered {code}: {message}{}; check \
         the role's trust policy and the cluster's OIDC provider",
        with_id(request_id.as_ref())
    )]
    Sts {
        /// The role's ARN.
        role: String,
        /// STS's error code.
        code: String,
        /// STS's message.
        message: String,
        /// STS's request id.
        request_id: Option<String>,
    },
    /// STS gave no answer.
    #[error("web identity: no answer of STS in {region}: {reason}; check the network and proxy")]
    StsUnreachable {
        /// The region whose endpoint was asked.
        region: String,
        /// What went wrong.
        reason: String,
    },
    /// Another link is set up, but broken.
    #[error("{link}: {reason}; {}", link.advice())]
    Broken {
        /// Which.
        link: Link,
        /// What went wrong.
        reason: String,
    },
    /// A link took too long.
    #[error("{link}: no credentials within {after:?}; {}", link.advice())]
    TimedOut {
        /// Which.
        link: Link,
        /// How long it was waited for.
        after: Duration,
    },
    /// No link is set up.
    #[error("no source of AWS credentials is set up ({tried})")]
    Nothing {
        /// The links with what each lacks.
        tried: String,
    },
}

fn with_id(request_id: Option<&String>) -> String {
    request_id.map_or_else(String::new, |id| format!(" (request id {id})"))
}

/// The links, in order.
#[derive(Debug)]
pub(crate) struct Chain {
    region: String,
    links: Vec<(Link, Box<dyn ProvideCredentials>)>,
    /// The link that is being asked, for whoever loses patience.
    asked: Mutex<Link>,
}

impl Chain {
    /// The SDK's sources with short patience. STS is asked at the endpoint of the region.
    pub(crate) fn new(base: ProviderConfig, region: &str) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(EXCHANGE)
            .build();
        let retries =
            RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(BACKOFF);
        let config = base.with_timeout_config(timeouts).with_retry_config(retries);
        let metadata = imds::Client::builder()
            .configure(&config)
            .max_attempts(ATTEMPTS)
            .connect_timeout(METADATA)
            .read_timeout(METADATA)
            .operation_timeout(METADATA_ALL)
            .build();
        let instance = imds::credentials::ImdsCredentialsProvider::builder().imds_client(metadata);
        Self::of(
            region,
            vec![
                (Link::Environment, Box::new(EnvironmentVariableCredentialsProvider::new())),
                (
                    Link::Profile,
                    Box::new(ProfileFileCredentialsProvider::builder().configure(&config).build()),
                ),
                (
                    Link::WebIdentity,
                    Box::new(
                        WebIdentityTokenCredentialsProvider::builder().configure(&config).build(),
                    ),
                ),
                (
                    Link::Container,
                    Box::new(EcsCredentialsProvider::builder().configure(&config).build()),
                ),
                (Link::InstanceProfile, Box::new(instance.configure(&config).build())),
            ],
        )
    }

    /// A role that is assumed with the credentials of `own`, at the STS of the base's region.
    pub(crate) async fn of_role(base: &SdkConfig, role: &Role, own: Cache) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(EXCHANGE)
            .build();
        let retries =
            RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(BACKOFF);
        let config =
            base.clone().into_builder().timeout_config(timeouts).retry_config(retries).build();
        let mut provider = AssumeRoleProvider::builder(&role.arn)
            .session_name("aws-efs-csi-driver")
            .configure(&config);
        if let Some(external_id) = &role.external_id {
            provider = provider.external_id(external_id);
        }
        let provider = provider.build_from_provider(own).await;
        let region = base.region().map(ToString::to_string).unwrap_or_default();
        Self::of(&region, vec![(Link::Role, Box::new(provider))])
    }

    fn of(region: &str, links: Vec<(Link, Box<dyn ProvideCredentials>)>) -> Self {
        Self { region: region.to_owned(), links, asked: Mutex::new(Link::Environment) }
    }

    /// Credentials of the first link that is set up.
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let walk = timeout(CHAIN, self.walk()).await;
        walk.unwrap_or_else(|_elapsed| {
            Err(CredentialsError::TimedOut { link: self.asked(), after: CHAIN })
        })
    }

    async fn walk(&self) -> Result<Credentials, CredentialsError> {
        let mut tried = Vec::new();
        for (link, provider) in &self.links {
            *self.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = *link;
            match provider.provide_credentials().await {
                Ok(credentials) => {
                    tracing::debug!(source = %link, "AWS credentials loaded");
                    return Ok(credentials);
                }
                Err(error @ ProviderError::CredentialsNotLoaded(_)) => {
                    tried.push(format!("{link}: {}", explain::innermost(&error)));
                }
                Err(error) => return Err(explain::broken(*link, &self.region, &error)),
            }
        }
        Err(CredentialsError::Nothing { tried: tried.join("; ") })
    }

    fn asked(&self) -> Link {
        *self.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
