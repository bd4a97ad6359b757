//! AWS credentials that sign a client certificate.

mod endpoint;
mod wallet;

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

pub use wallet::{CredentialsError, Wallet};

/// One set of credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key id, which is no secret.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: String,
    /// The token of a session, for temporary credentials.
    pub session_token: Option<String>,
    /// When they end.
    pub expiry: Option<Timestamp>,
}

impl Credentials {
    /// Whether they hold for `time` more after `now`.
    #[must_use]
    pub fn hold(&self, time: Duration, now: Timestamp) -> bool {
        self.expiry.is_none_or(|end| {
            Duration::try_from(end.duration_since(now)).is_ok_and(|left| left > time)
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_secret_nor_token_is_in_the_debug_text() {
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: "hidden-secret".to_owned(),
            session_token: Some("hidden-token".to_owned()),
            expiry: None,
        };
        let text = format!("{credentials:?}");
        assert!(text.contains("AKIDEXAMPLE") && !text.contains("hidden"), "{text}");
    }
}
