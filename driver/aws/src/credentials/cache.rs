//! Credentials kept until shortly before they expire.
//!
//! The SDK's own cache fails every call once a renewal fails, although the old credentials hold
//! for minutes more. This one renews early, by one caller at a time, and lives off the old ones
//! meanwhile.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError as ProviderError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use tokio::time::Instant;

use super::{Chain, CredentialsError};

/// Renewal begins this long before the end.
const EARLY: Duration = Duration::from_mins(5);
/// Credentials this close to their end are not used: the call must reach AWS before it.
const MARGIN: Duration = Duration::from_secs(20);
/// Pause after a renewal that failed, while the old credentials hold.
const PAUSE: Duration = Duration::from_secs(15);

/// A chain with the credentials it gave last.
#[derive(Debug, Clone)]
pub(crate) struct Cache(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    chain: Chain,
    last: Mutex<Last>,
    /// Held by the one caller that asks the chain.
    renewal: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default, Clone)]
struct Last {
    credentials: Option<Credentials>,
    failure: Option<(Instant, CredentialsError)>,
}

impl Last {
    fn lasting(&self, at_least: Duration) -> Option<Credentials> {
        let needed = SystemTime::now() + at_least;
        self.credentials
            .clone()
            .filter(|credentials| credentials.expiry().is_none_or(|expiry| expiry > needed))
    }

    fn failed_since(&self, time: Instant) -> Option<CredentialsError> {
        self.failure.as_ref().filter(|(at, _)| *at >= time).map(|(_, error)| error.clone())
    }
}

impl Cache {
    pub(crate) fn new(chain: Chain) -> Self {
        let renewal = tokio::sync::Mutex::new(());
        Self(Arc::new(Shared { chain, last: Mutex::default(), renewal }))
    }

    /// Valid credentials, from memory if possible.
    pub(crate) async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let last = self.last();
        if let Some(credentials) = last.lasting(EARLY) {
            return Ok(credentials);
        }
        let arrived = Instant::now();
        let usable = last.lasting(MARGIN);
        let turn = match (&usable, self.0.renewal.try_lock()) {
            (_, Ok(turn)) => turn,
            (Some(credentials), Err(_renewal_under_way)) => return Ok(credentials.clone()),
            (None, Err(_renewal_under_way)) => self.0.renewal.lock().await,
        };
        // Whoever held the lock may have had an answer, good or bad, that is fresh enough.
        let last = self.last();
        if let Some(credentials) = last.lasting(EARLY) {
            return Ok(credentials);
        }
        let fresh = if usable.is_some() { arrived.checked_sub(PAUSE) } else { Some(arrived) };
        if let Some(error) = fresh.and_then(|since| last.failed_since(since)) {
            return usable.ok_or(error);
        }
        let renewed = self.renew().await;
        drop(turn);
        match (renewed, usable) {
            (Err(error), Some(credentials)) => {
                tracing::warn!(%error, "AWS credentials were not renewed; the old ones still hold");
                Ok(credentials)
            }
            (renewed, _) => renewed,
        }
    }

    async fn renew(&self) -> Result<Credentials, CredentialsError> {
        let answer = self.0.chain.credentials().await;
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &answer {
            Ok(credentials) => {
                *last = Last { credentials: Some(credentials.clone()), failure: None };
            }
            Err(error) => last.failure = Some((Instant::now(), error.clone())),
        }
        answer
    }

    /// The same, with the patience of a person: the broken link is named within `patience`.
    pub(crate) async fn check(&self, patience: Duration) -> Result<(), CredentialsError> {
        match tokio::time::timeout(patience, self.credentials()).await {
            Ok(answer) => answer.map(drop),
            Err(_elapsed) => {
                Err(CredentialsError::TimedOut { link: self.0.chain.asked(), after: patience })
            }
        }
    }

    fn last(&self) -> Last {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ProvideCredentials for Cache {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let answer: provider::Result =
                self.credentials().await.map_err(ProviderError::provider_error);
            answer
        })
    }
}

#[cfg(test)]
mod tests;
