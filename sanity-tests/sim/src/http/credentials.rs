//! The access keys that the simulated AWS knows.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// An access key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// The access key id.
    pub access_key: String,
    /// The secret.
    pub secret: String,
    /// The session token, for temporary keys.
    #[serde(default)]
    pub session_token: Option<String>,
    /// Whom it stands for, as an ARN; made up if absent.
    #[serde(default)]
    pub arn: Option<String>,
    /// When it expires, in seconds since 1970; never if absent.
    #[serde(default)]
    pub expires: Option<i64>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("access_key", &self.access_key)
            .field("arn", &self.arn)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Credential {
    /// The key that every simulated AWS knows unless seeded otherwise. It opens nothing else.
    #[must_use]
    pub fn well_known() -> Self {
        Self {
            access_key: "AKIASIMULATED0000000".to_owned(),
            secret: "simulated-aws-has-no-secrets".to_owned(),
            session_token: None,
            arn: None,
            expires: None,
        }
    }

    /// Whom it stands for.
    #[must_use]
    pub fn principal(&self) -> String {
        let made_up = || format!("arn:aws:iam::123456789012:user/{}", self.access_key);
        self.arn.clone().unwrap_or_else(made_up)
    }
}

/// All access keys by id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials(BTreeMap<String, Credential>);

impl Credentials {
    pub(crate) fn set(&mut self, credential: Credential) {
        self.0.insert(credential.access_key.clone(), credential);
    }

    pub(crate) fn remove(&mut self, access_key: &str) {
        self.0.remove(access_key);
    }

    pub(crate) fn get(&self, access_key: &str) -> Option<&Credential> {
        self.0.get(access_key)
    }
}
