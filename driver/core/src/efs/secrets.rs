//! The provisioner's Secret, and references to objects of Kubernetes.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::Role;
use crate::parameters::efs::go_flag;
use crate::rpc_error::Invalid;

/// What the provisioner's Secret says: how to reach a file system of another account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Secrets {
    /// The role to act as; without one, the driver's own.
    pub role: Option<Role>,
    /// Whether nodes find the mount target by the name that holds its zone's id.
    pub cross_account: bool,
}

impl Secrets {
    /// Reads `secrets` of a request. Keys that are not the driver's are ignored: a Secret may
    /// serve others too.
    ///
    /// # Errors
    /// `crossaccount` that is neither true nor false, a role that is no ARN of one. No value is
    /// in the message.
    pub fn parse(secrets: &BTreeMap<String, String>) -> Result<Self, Invalid> {
        let text = |key: &str| {
            secrets.get(key).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let role = text("awsRoleArn");
        if role.as_deref().is_some_and(|arn| !is_role_arn(arn)) {
            return Err(Invalid::new("secrets.awsRoleArn", "must be the ARN of an IAM role"));
        }
        let cross_account = text("crossaccount").map_or(Ok(false), |flag| {
            go_flag("secrets.crossaccount", &flag)
                .map_err(|_value| Invalid::new("secrets.crossaccount", "must be true or false"))
        })?;
        let external_id = text("externalId");
        Ok(Self { role: role.map(|arn| Role { arn, external_id }), cross_account })
    }
}

/// `arn:partition:iam::account:role/path/name`.
fn is_role_arn(arn: &str) -> bool {
    let fields: Vec<&str> = arn.splitn(6, ':').collect();
    matches!(*fields.as_slice(), ["arn", _, "iam", "", account, role]
        if account.len() == 12
            && account.bytes().all(|byte| byte.is_ascii_digit())
            && role.strip_prefix("role/").is_some_and(|name| !name.is_empty()))
        && !arn.chars().any(|char| char.is_control() || char.is_whitespace())
}

/// A key of a `ConfigMap` or a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectKey {
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The key in its data.
    pub key: String,
}

impl FromStr for ObjectKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let fields: Vec<&str> = text.split('/').map(str::trim).collect();
        let is_name = |name: &str| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        };
        match *fields.as_slice() {
            [namespace, name, key] if [namespace, name, key].into_iter().all(is_name) => Ok(Self {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                key: key.to_owned(),
            }),
            _ => Err("must be namespace/name/key"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Secrets, Invalid> {
        let map = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Secrets::parse(&map)
    }

    #[test]
    fn a_role_with_its_external_id_is_read_and_the_id_is_never_shown() {
        let arn = "arn:aws:iam::123456789012:role/team/efs";
        let secrets = parse(&[
            ("awsRoleArn", arn),
            ("externalId", "hush"),
            ("crossaccount", "True"),
            ("other", "x"),
        ])
        .unwrap();
        let role = secrets.role.clone().unwrap();
        assert_eq!((role.arn.as_str(), role.external_id.as_deref()), (arn, Some("hush")));
        assert!(secrets.cross_account);
        assert!(!format!("{secrets:?}").contains("hush"));
        assert_eq!(parse(&[]).unwrap(), Secrets::default());
        assert_eq!(parse(&[("awsRoleArn", " ")]).unwrap(), Secrets::default());
    }

    #[test]
    fn wrong_values_are_named_and_not_shown() {
        for (key, value) in [
            ("crossaccount", "maybe"),
            ("awsRoleArn", "my-role"),
            ("awsRoleArn", "arn:aws:iam::123456789012:user/me"),
            ("awsRoleArn", "arn:aws:iam::123456789012:role/a b"),
        ] {
            let error = parse(&[(key, value)]).unwrap_err();
            assert_eq!(error.field, format!("secrets.{key}"));
            assert!(!error.rule.contains(value), "{error}");
        }
    }

    #[test]
    fn a_reference_has_three_parts() {
        let key: ObjectKey = "kube-system/efs/id".parse().unwrap();
        assert_eq!(
            (key.namespace.as_str(), key.name.as_str(), key.key.as_str()),
            ("kube-system", "efs", "id")
        );
        for bad in ["", "a/b", "a//c", "a/b/c/d", "a/b/..%2f", "../b/c?x"] {
            assert!(bad.parse::<ObjectKey>().is_err() || bad.starts_with(".."), "{bad}");
        }
        assert!("../b/c?x".parse::<ObjectKey>().is_err());
    }
}
