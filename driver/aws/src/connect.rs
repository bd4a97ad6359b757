//! From settings to a client: region, endpoint, user agent, timeouts, credentials.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::provider_config::ProviderConfig;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::timeout::TimeoutConfig;
use aws_sdk_ec2::config::{
    AppName, BehaviorVersion, IdentityCache, Region, SharedCredentialsProvider,
    StalledStreamProtectionConfig,
};

use crate::action::Service;
use crate::credentials::{Cache, Chain};
use crate::pace::Rate;

/// Time for a TCP and TLS connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Time for a whole call. EC2 answers within a second or not at all.
const ATTEMPT: Duration = Duration::from_secs(15);

/// Settings of the connection to EC2 or EFS. Credentials, proxies, FIPS and dual-stack endpoints come
/// from the variables and files that every AWS SDK reads.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The region, `us-east-1`.
    pub region: String,
    /// URL of the service's endpoint where it is not the region's own (the Go driver's
    /// `AWS_EC2_ENDPOINT`). Without it `AWS_ENDPOINT_URL_EC2`, or `AWS_ENDPOINT_URL_EFS`, and
    /// `AWS_ENDPOINT_URL` count.
    pub endpoint: Option<String>,
    /// Text that follows the driver's name and version in the user agent.
    pub user_agent_extra: Option<String>,
    /// Rates of actions whose quota is not the default.
    pub rates: Vec<Rate>,
}

/// Settings that no client can be made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The region is no region's name.
    #[error("{region:?} is no AWS region; set AWS_REGION, such as us-east-1")]
    Region {
        /// The region as it came.
        region: String,
    },
    /// The endpoint is no URL.
    #[error("endpoint {endpoint:?}: want http://HOST[:PORT] or https://HOST[:PORT]")]
    Endpoint {
        /// The endpoint as it came.
        endpoint: String,
    },
    /// The extra text cannot stand in a user agent.
    #[error("user agent extra {extra:?}: only letters, digits and !#$%&'*+-.^_`|~ may stand in it")]
    UserAgent {
        /// The text as it came.
        extra: String,
    },
}

/// Settings that a client can be made of.
#[derive(Debug)]
pub(crate) struct Settings {
    region: Region,
    endpoint: Option<String>,
    app_name: AppName,
    service: Service,
}

impl Settings {
    pub(crate) fn check(config: &Config, service: Service) -> Result<Self, ConnectError> {
        let endpoint = config.endpoint.clone().filter(|url| !url.is_empty());
        endpoint.as_deref().map_or(Ok(()), check_endpoint)?;
        Ok(Self {
            region: region(&config.region)?,
            endpoint,
            app_name: app_name(service.driver(), config.user_agent_extra.as_deref())?,
            service,
        })
    }
}

/// A client with the credentials that it uses.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) client: aws_sdk_ec2::Client,
    pub(crate) credentials: Cache,
}

/// What clients are made of, with the credentials that they use.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) config: SdkConfig,
    pub(crate) credentials: Cache,
    endpoint: Option<String>,
}

/// A client that makes each call once: what a lost reply means is decided above, where it is known
/// whether the call may be repeated.
pub(crate) async fn connected(settings: &Settings) -> Connected {
    let Base { config, credentials, endpoint } = base(settings).await;
    let mut builder = aws_sdk_ec2::config::Builder::from(&config);
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    Connected { client: aws_sdk_ec2::Client::from_conf(builder.build()), credentials }
}

/// A client of EFS that makes each call once, with other credentials than the base's if it acts as
/// a role.
pub(crate) fn efs_client(base: &Base, role: Option<Cache>) -> aws_sdk_efs::Client {
    let mut builder = aws_sdk_efs::config::Builder::from(&base.config);
    if let Some(role) = role {
        builder = builder.credentials_provider(SharedCredentialsProvider::new(role));
    }
    if let Some(endpoint) = &base.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    aws_sdk_efs::Client::from_conf(builder.build())
}

/// Reads the settings that every AWS SDK reads, and where credentials come from.
pub(crate) async fn base(settings: &Settings) -> Base {
    let region = settings.region.clone();
    let loaded = aws_config::defaults(behavior())
        .region(region.clone())
        .app_name(settings.app_name.clone())
        .no_credentials()
        .load()
        .await;
    let base = ProviderConfig::default()
        .with_region(Some(region.clone()))
        .with_use_fips(loaded.use_fips())
        .with_use_dual_stack(loaded.use_dual_stack());
    let credentials = Cache::new(Chain::new(base, region.as_ref()));
    let config = loaded
        .into_builder()
        .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
        .identity_cache(IdentityCache::no_cache())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts())
        // Its grace period is longer than a whole call may take.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    tracing::debug!(
        service = settings.service.name(),
        region = region.as_ref(),
        "AWS settings read"
    );
    Base { config, credentials, endpoint: settings.endpoint.clone() }
}

pub(crate) fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

pub(crate) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(ATTEMPT).build()
}

fn region(name: &str) -> Result<Region, ConnectError> {
    let is_name = name.contains('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if is_name {
        Ok(Region::new(name.to_owned()))
    } else {
        Err(ConnectError::Region { region: name.to_owned() })
    }
}

fn check_endpoint(url: &str) -> Result<(), ConnectError> {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let is_url = host.is_some_and(|host| {
        !host.is_empty() && !host.starts_with(['/', ':']) && !host.contains(char::is_whitespace)
    });
    if is_url { Ok(()) } else { Err(ConnectError::Endpoint { endpoint: url.to_owned() }) }
}

fn app_name(base: &str, extra: Option<&str>) -> Result<AppName, ConnectError> {
    let extra = extra.filter(|extra| !extra.is_empty());
    let name = extra.map_or_else(|| base.to_owned(), |extra| format!("{base}-{extra}"));
    AppName::new(name)
        .map_err(|_rule| ConnectError::UserAgent { extra: extra.unwrap_or_default().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_client_are_named() {
        let good = Config { region: "us-east-1".to_owned(), ..Config::default() };
        for (config, part) in [
            (Config::default(), "set AWS_REGION"),
            (Config { region: "US EAST".to_owned(), ..good.clone() }, "no AWS region"),
            (Config { endpoint: Some("localhost:4566".to_owned()), ..good.clone() }, "http://HOST"),
            (Config { endpoint: Some("http:///x".to_owned()), ..good.clone() }, "http://HOST"),
            (Config { user_agent_extra: Some("a b".to_owned()), ..good.clone() }, "user agent"),
        ] {
            let error = Settings::check(&config, Service::Ec2).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(Settings::check(&good, Service::Ec2).is_ok());
    }
}
