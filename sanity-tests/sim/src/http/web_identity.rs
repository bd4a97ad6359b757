//! Web identity tokens, verified as STS does: JSON Web Tokens signed with RS256.
//! Sources: RFC 7515, RFC 7517, RFC 7519; STS API reference, `AssumeRoleWithWebIdentity`.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::App;
use crate::world::AwsError;

/// An issuer of tokens that the account trusts: an IAM identity provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Its name, as tokens have it in `iss`.
    pub issuer: String,
    /// Its keys, as it publishes them.
    pub jwks: KeySet,
    /// The audiences that it may issue tokens for.
    #[serde(default = "audiences")]
    pub audiences: Vec<String>,
}

fn audiences() -> Vec<String> {
    vec!["sts.amazonaws.com".to_owned()]
}

/// A set of keys, `{"keys": […]}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeySet {
    /// The keys.
    pub keys: Vec<Key>,
}

/// A public RSA key. Members with other meanings are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its type; only `RSA` is of use.
    pub kty: String,
    /// Its name.
    #[serde(default)]
    pub kid: Option<String>,
    /// The modulus, base64url.
    #[serde(default)]
    pub n: String,
    /// The exponent, base64url.
    #[serde(default)]
    pub e: String,
}

/// All issuers by name.
pub(super) type Issuers = BTreeMap<String, Issuer>;

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

/// What a verified token says.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Claims {
    #[serde(rename = "iss")]
    pub(super) issuer: String,
    #[serde(rename = "sub")]
    pub(super) subject: String,
    #[serde(rename = "aud")]
    audience: Audience,
    #[serde(rename = "exp")]
    expires: i64,
    #[serde(rename = "nbf")]
    not_before: Option<i64>,
}

/// RFC 7519, section 4.1.3: one or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Claims {
    pub(super) fn audiences(&self) -> Vec<String> {
        match &self.audience {
            Audience::One(one) => vec![one.clone()],
            Audience::Many(many) => many.clone(),
        }
    }
}

impl App {
    /// Verifies a token's issuer, signature, times and audience: one of the issuer's, unless
    /// another is wanted.
    pub(super) fn verify_token(
        &self,
        token: &str,
        now: Timestamp,
        audience: Option<&str>,
    ) -> Result<Claims, AwsError> {
        let parts: Vec<&str> = token.split('.').collect();
        let [head, body, signature] = parts.as_slice() else {
            return Err(wrong("The ID Token provided is not a valid JWT"));
        };
        let header: Header = decoded(head)?;
        let claims: Claims = decoded(body)?;
        let issuer = self.issuers(|all| all.get(&claims.issuer).cloned()).ok_or_else(|| {
            wrong(&format!("No OpenIDConnect provider found in your account for {}", claims.issuer))
        })?;
        let message = format!("{head}.{body}");
        if header.alg != "RS256" || !issuer.has_signed(&header, &message, signature) {
            return Err(wrong("Couldn't retrieve verification key from your identity provider"));
        }
        let now = now.as_second();
        if claims.expires <= now {
            return Err(AwsError::new(
                "ExpiredTokenException",
                format!("Token expired: current date/time {now} must be before {}", claims.expires),
            ));
        }
        if claims.not_before.is_some_and(|begin| begin > now) {
            return Err(wrong("The token is not valid yet"));
        }
        let fits = |one: &String| match audience {
            Some(wanted) => one == wanted,
            None => issuer.audiences.contains(one),
        };
        if !claims.audiences().iter().any(fits) {
            return Err(wrong("Incorrect token audience"));
        }
        Ok(claims)
    }
}

impl Issuer {
    fn has_signed(&self, header: &Header, message: &str, signature: &str) -> bool {
        let Ok(signature) = BASE64URL_NOPAD.decode(signature.as_bytes()) else { return false };
        let named =
            |key: &&Key| key.kty == "RSA" && (header.kid.is_none() || key.kid == header.kid);
        self.jwks.keys.iter().filter(named).any(|key| {
            let number = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes());
            let (Ok(n), Ok(e)) = (number(&key.n), number(&key.e)) else { return false };
            let key = RsaPublicKeyComponents { n, e };
            key.verify(&RSA_PKCS1_2048_8192_SHA256, message.as_bytes(), &signature).is_ok()
        })
    }
}

fn decoded<T: DeserializeOwned>(part: &str) -> Result<T, AwsError> {
    let malformed = || wrong("The ID Token provided is not a valid JWT");
    let bytes = BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_malformed| malformed())?;
    serde_json::from_slice(&bytes).map_err(|_malformed| malformed())
}

fn wrong(message: &str) -> AwsError {
    AwsError::new("InvalidIdentityToken", message)
}
