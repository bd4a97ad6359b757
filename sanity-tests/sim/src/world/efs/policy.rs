//! What a file system's policy allows. Source: EFS user guide, "Using IAM to control file system
//! data access".

use serde::{Deserialize, Serialize};

use super::FileSystemRecord;

/// Who may do what: lists of ARNs, a role's standing for all its sessions; `*` is everybody who is signed in, and with
/// [`FileSystemPolicy::anonymous`] everybody else too.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileSystemPolicy {
    /// `elasticfilesystem:ClientMount`.
    pub mount: Vec<String>,
    /// `elasticfilesystem:ClientWrite`.
    pub write: Vec<String>,
    /// `elasticfilesystem:ClientRootAccess`.
    pub root: Vec<String>,
    /// Whether `*` includes clients without an identity.
    pub anonymous: bool,
    /// Whether a client must come through an access point.
    pub access_point_only: bool,
    /// Whether clients without TLS are refused (`aws:SecureTransport`).
    pub tls_only: bool,
}

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Access {
    /// Whether it may write.
    pub write: bool,
    /// Whether its root is root.
    pub root: bool,
}

impl FileSystemRecord {
    /// What a client may do that is signed in as `principal`; nothing if it may not even mount.
    #[must_use]
    pub fn access(&self, principal: Option<&str>, by_access_point: bool) -> Option<Access> {
        let Some(policy) = &self.policy else {
            return Some(Access { write: true, root: true });
        };
        let lists = |list: &[String]| match principal {
            Some(principal) => list.iter().any(|one| one == "*" || stands_for(one, principal)),
            None => policy.anonymous && list.iter().any(|one| one == "*"),
        };
        if !lists(&policy.mount) || (policy.access_point_only && !by_access_point) {
            return None;
        }
        Some(Access { write: lists(&policy.write), root: lists(&policy.root) })
    }

    /// Whether clients without TLS are refused.
    #[must_use]
    pub fn is_tls_only(&self) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.tls_only)
    }
}

/// Whether an ARN in a policy is the principal's own, or that of the role whose session it is.
fn stands_for(listed: &str, principal: &str) -> bool {
    let role = || {
        let (account, session) = principal.strip_prefix("arn:aws:sts::")?.split_once(':')?;
        let (name, _session) = session.strip_prefix("assumed-role/")?.split_once('/')?;
        let listed = listed.strip_prefix("arn:aws:iam::")?.strip_prefix(account)?;
        Some(listed.strip_prefix(":role/")?.rsplit('/').next()? == name)
    };
    listed == principal || role().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::LifeCycle;
    use super::*;

    fn with(policy: Option<FileSystemPolicy>) -> FileSystemRecord {
        FileSystemRecord {
            id: "fs-12345678".to_owned(),
            one_zone: None,
            state: LifeCycle::Available,
            policy,
            tags: csi_core::ebs::Tags::new(),
            created: 0,
        }
    }

    #[test]
    fn without_a_policy_everybody_may_do_everything() {
        assert_eq!(with(None).access(None, false), Some(Access { write: true, root: true }));
    }

    #[test]
    fn a_role_stands_for_its_sessions_and_no_other() {
        let session = "arn:aws:sts::123456789012:assumed-role/node/x";
        assert!(stands_for("arn:aws:iam::123456789012:role/node", session));
        assert!(stands_for("arn:aws:iam::123456789012:role/path/node", session));
        assert!(stands_for(session, session));
        for other in [
            "arn:aws:iam::123456789012:role/nod",
            "arn:aws:iam::210987654321:role/node",
            "arn:aws:iam::123456789012:user/node",
            "node",
        ] {
            assert!(!stands_for(other, session), "{other}");
        }
    }

    #[test]
    fn a_policy_tells_mounting_writing_and_root_apart() {
        let policy = FileSystemPolicy {
            mount: vec!["*".to_owned()],
            write: vec!["arn:a".to_owned()],
            access_point_only: true,
            ..FileSystemPolicy::default()
        };
        let record = with(Some(policy));
        assert_eq!(record.access(Some("arn:a"), true), Some(Access { write: true, root: false }));
        assert_eq!(record.access(Some("arn:b"), true), Some(Access { write: false, root: false }));
        assert_eq!(record.access(Some("arn:a"), false), None);
        assert_eq!(record.access(None, true), None, "* is everybody who is signed in");
    }
}
