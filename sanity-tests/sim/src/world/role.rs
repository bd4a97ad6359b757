//! IAM roles and whom they trust. Source: IAM user guide, "IAM JSON policy elements: Principal"
//! and "Create a role for OIDC federation".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AwsError, World};

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleSeed {
    /// Its ARN, `arn:aws:iam::123456789012:role/NAME`.
    pub arn: String,
    /// Whom it trusts: any of these.
    #[serde(default)]
    pub trusts: Vec<Trust>,
    /// Longest session, in seconds.
    #[serde(default = "hour")]
    pub max_session_seconds: u32,
    /// How long its sessions last whatever was asked for; STS itself makes none shorter than a
    /// quarter of an hour, which is long for a test.
    #[serde(default)]
    pub session_seconds: Option<u32>,
}

impl RoleSeed {
    /// Its name, without its path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.arn.rsplit('/').next().unwrap_or_default()
    }

    /// A role with sessions of an hour.
    #[must_use]
    pub fn new(arn: &str, trusts: Vec<Trust>) -> Self {
        Self { arn: arn.to_owned(), trusts, max_session_seconds: hour(), session_seconds: None }
    }
}

fn hour() -> u32 {
    3_600
}

/// A statement of a role's trust policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trust {
    /// `sts:AssumeRole` by whoever can sign, with the external id if there is one.
    Signed {
        /// `sts:ExternalId`.
        #[serde(default)]
        external_id: Option<String>,
    },
    /// `sts:AssumeRoleWithWebIdentity` by an OIDC issuer's subjects.
    WebIdentity {
        /// The issuer, as its tokens name it.
        issuer: String,
        /// `sub`: these; `*` at the end stands for anything.
        subjects: Vec<String>,
        /// `aud`.
        #[serde(default = "sts_audience")]
        audience: String,
    },
    /// EKS Pod Identity: the role is associated with these service accounts.
    Pod {
        /// The issuer of the cluster's tokens.
        issuer: String,
        /// `sub`: these; `*` at the end stands for anything.
        subjects: Vec<String>,
    },
}

fn sts_audience() -> String {
    "sts.amazonaws.com".to_owned()
}

/// Who asks for a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller<'a> {
    /// Somebody whose signature was verified.
    Signed {
        /// `ExternalId`.
        external_id: Option<&'a str>,
    },
    /// The holder of a token whose signature and times were verified.
    WebIdentity {
        /// `iss`.
        issuer: &'a str,
        /// `sub`.
        subject: &'a str,
        /// `aud`.
        audiences: &'a [String],
    },
    /// The holder of a verified token for Pod Identity.
    Pod {
        /// `iss`.
        issuer: &'a str,
        /// `sub`.
        subject: &'a str,
    },
}

/// All roles by ARN.
pub(crate) type Roles = BTreeMap<String, RoleSeed>;

impl World {
    /// Makes or replaces a role.
    pub fn set_role(&mut self, role: RoleSeed) {
        self.roles.insert(role.arn.clone(), role);
    }

    /// The role that is there for a caller who does not name one.
    pub fn role_of(&self, caller: &Caller<'_>) -> Result<RoleSeed, AwsError> {
        let role = self.roles.values().find(|role| role.trusts.iter().any(|t| t.holds(caller)));
        role.map_or_else(|| self.assume("", caller), |role| Ok(role.clone()))
    }

    /// A role, if it exists.
    #[must_use]
    pub fn role(&self, arn: &str) -> Option<&RoleSeed> {
        self.roles.get(arn)
    }

    /// Whether a role may be assumed by a caller: the role. One that does not exist is refused
    /// like one that does not trust the caller, as STS does.
    pub fn assume(&self, arn: &str, caller: &Caller<'_>) -> Result<RoleSeed, AwsError> {
        let role = self.roles.get(arn);
        let trusted = role.filter(|role| role.trusts.iter().any(|trust| trust.holds(caller)));
        trusted.cloned().ok_or_else(|| {
            let action = match caller {
                Caller::Signed { .. } => "sts:AssumeRole",
                Caller::WebIdentity { .. } => "sts:AssumeRoleWithWebIdentity",
                Caller::Pod { .. } => "eks-auth:AssumeRoleForPodIdentity",
            };
            AwsError::new("AccessDenied", format!("Not authorized to perform {action}"))
        })
    }
}

impl Trust {
    fn holds(&self, caller: &Caller<'_>) -> bool {
        match (self, caller) {
            (Self::Signed { external_id: want }, Caller::Signed { external_id }) => {
                want.as_deref().is_none_or(|want| *external_id == Some(want))
            }
            (
                Self::WebIdentity { issuer, subjects, audience },
                Caller::WebIdentity { issuer: from, subject, audiences },
            ) => issuer == from && lists(subjects, subject) && audiences.contains(audience),
            (Self::Pod { issuer, subjects }, Caller::Pod { issuer: from, subject }) => {
                issuer == from && lists(subjects, subject)
            }
            _ => false,
        }
    }
}

fn lists(patterns: &[String], subject: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => subject.starts_with(prefix),
        None => pattern == subject,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    const ARN: &str = "arn:aws:iam::123456789012:role/efs";
    const SUBJECT: &str = "system:serviceaccount:kube-system:efs-csi-controller-sa";

    fn world(trust: Trust) -> World {
        let mut world = World::new(Settings::instant(), 1);
        world.set_role(RoleSeed::new(ARN, vec![trust]));
        world
    }

    #[test]
    fn an_external_id_is_demanded_where_the_role_names_one() {
        let world = world(Trust::Signed { external_id: Some("x".to_owned()) });
        let ask = |external_id| world.assume(ARN, &Caller::Signed { external_id }).is_ok();
        assert_eq!((ask(Some("x")), ask(Some("y")), ask(None)), (true, false, false));
        let other = "arn:aws:iam::123456789012:role/none";
        let error = world.assume(other, &Caller::Signed { external_id: Some("x") }).unwrap_err();
        assert_eq!((error.code.as_str(), error.status), ("AccessDenied", 403));
    }

    #[test]
    fn a_token_must_have_issuer_subject_and_audience_of_the_trust_policy() {
        let world = world(Trust::WebIdentity {
            issuer: "https://issuer".to_owned(),
            subjects: vec![SUBJECT.to_owned(), "system:serviceaccount:tests:*".to_owned()],
            audience: sts_audience(),
        });
        let ask = |issuer, subject, audience: &str| {
            let audiences = [audience.to_owned()];
            world
                .assume(ARN, &Caller::WebIdentity { issuer, subject, audiences: &audiences })
                .is_ok()
        };
        assert!(ask("https://issuer", SUBJECT, "sts.amazonaws.com"));
        assert!(ask("https://issuer", "system:serviceaccount:tests:any", "sts.amazonaws.com"));
        assert!(!ask("https://other", SUBJECT, "sts.amazonaws.com"));
        assert!(!ask("https://issuer", "system:serviceaccount:default:x", "sts.amazonaws.com"));
        assert!(!ask("https://issuer", SUBJECT, "vault"));
    }
}
