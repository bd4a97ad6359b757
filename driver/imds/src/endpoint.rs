//! Where the metadata service is.

use std::fmt;
use std::str::FromStr;

use http::Uri;

/// Base address of a metadata service: `http://`, host and perhaps port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImdsEndpoint(String);

/// Why a text is no [`ImdsEndpoint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("metadata endpoint {text:?}: write http://HOST or http://HOST:PORT")]
pub struct InvalidImdsEndpoint {
    text: String,
}

impl Default for ImdsEndpoint {
    /// The address that every instance knows, over IPv4.
    fn default() -> Self {
        Self("http://169.254.169.254".to_owned())
    }
}

impl FromStr for ImdsEndpoint {
    type Err = InvalidImdsEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidImdsEndpoint> {
        let invalid = || InvalidImdsEndpoint { text: text.to_owned() };
        let base = text.trim_end_matches('/');
        let uri: Uri = base.parse().map_err(|_not_a_uri| invalid())?;
        let only_host =
            uri.scheme_str() == Some("http") && uri.query().is_none() && uri.path() == "/";
        if only_host && uri.host().is_some_and(|host| !host.is_empty()) {
            Ok(Self(base.to_owned()))
        } else {
            Err(invalid())
        }
    }
}

impl fmt::Display for ImdsEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_address_is_accepted_with_and_without_a_slash_at_its_end() {
        for text in ["http://169.254.169.254", "http://127.0.0.1:1338/", "http://[fd00:ec2::254]"] {
            let endpoint: ImdsEndpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text.trim_end_matches('/'));
        }
    }

    #[test]
    fn anything_but_plain_http_to_a_host_is_refused() {
        for text in ["", "http://", "https://x", "169.254.169.254", "http://x/latest", "http://x?a"]
        {
            assert!(text.parse::<ImdsEndpoint>().is_err(), "{text:?}");
        }
    }
}
