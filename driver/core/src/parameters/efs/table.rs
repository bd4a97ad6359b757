//! The table of an EFS `StorageClass`'s parameters.

use super::super::{Given, Match, Parameter};
use super::{Collected, FileSystemRef, base_path};
use crate::rpc_error::Invalid;
use crate::topology::Zone;

type Apply = fn(&mut Collected, &Given<'_>) -> Result<(), Invalid>;

const FLAG: &str = "true or false";
const ID: &str = "a whole number from 0 to 4294967295";

const fn parameter(
    key: &'static str,
    accepts: &'static str,
    default: &'static str,
    meaning: &'static str,
    apply: Apply,
) -> Parameter<Collected> {
    Parameter { key, matching: Match::AnyCase, accepts, default, meaning, apply }
}

/// An EFS `StorageClass`'s parameters.
pub static EFS_CLASS: &[Parameter<Collected>] = &[
    parameter(
        "provisioningMode",
        "efs-ap",
        "must be set",
        "What a volume is: an access point.",
        |class, given| match given.value {
            "efs-ap" => {
                class.mode = true;
                Ok(())
            }
            "s3files-ap" => given.refuse("S3 Files is not served by this driver; want efs-ap"),
            other => given.refuse(format!("must be efs-ap, got {other:?}")),
        },
    ),
    parameter(
        "fileSystemId",
        "fs- and 8 to 40 lower-case hex digits",
        "must be set",
        "The file system.",
        |class, given| {
            let id = given.value.trim();
            let id = id.parse().or_else(|error: crate::id::InvalidId| given.refuse(error.rule))?;
            class.file_systems.insert("fileSystemId", FileSystemRef::Id(id));
            Ok(())
        },
    ),
    parameter(
        "fileSystemIdConfigRef",
        "namespace/name/key",
        "not set",
        "In place of fileSystemId: the ConfigMap's key that holds the id.",
        |class, given| {
            let found =
                FileSystemRef::ConfigMap(given.value.parse().or_else(|rule| given.refuse(rule))?);
            class.file_systems.insert("fileSystemIdConfigRef", found);
            Ok(())
        },
    ),
    parameter(
        "fileSystemIdSecretRef",
        "namespace/name/key",
        "not set",
        "In place of fileSystemId: the Secret's key that holds the id.",
        |class, given| {
            let found =
                FileSystemRef::Secret(given.value.parse().or_else(|rule| given.refuse(rule))?);
            class.file_systems.insert("fileSystemIdSecretRef", found);
            Ok(())
        },
    ),
    parameter(
        "directoryPerms",
        "three or four octal digits",
        "must be set",
        "Permissions of the volume's directory.",
        |class, given| {
            class.permissions = Some(given.value.parse().or_else(|rule: &str| given.refuse(rule))?);
            Ok(())
        },
    ),
    parameter(
        "uid",
        ID,
        "the number that is chosen for the group",
        "User that every access through the access point becomes, and owner of the directory.",
        |class, given| {
            class.uid = Some(given.posix_id()?);
            Ok(())
        },
    ),
    parameter(
        "gid",
        ID,
        "a free number of the range",
        "Group that every access through the access point becomes, and group of the directory.",
        |class, given| {
            class.gid = Some(given.posix_id()?);
            Ok(())
        },
    ),
    parameter(
        "gidRangeStart",
        "a whole number from 1 to 4294967295",
        "50000",
        "First number of the range from which a group, or user, is chosen. Needs gidRangeEnd.",
        |class, given| {
            class.first_gid = Some(given.posix_id()?);
            if class.first_gid == Some(0) { given.refuse("must be greater than 0") } else { Ok(()) }
        },
    ),
    parameter(
        "gidRangeEnd",
        "a whole number greater than gidRangeStart",
        "60000",
        "Last number of the range. Needs gidRangeStart.",
        |class, given| {
            class.last_gid = Some(given.posix_id()?);
            Ok(())
        },
    ),
    parameter(
        "basePath",
        "a path",
        "/",
        "Directory that holds the directories of the volumes.",
        |class, given| {
            class.base_path = Some(base_path(given.key, given.value)?);
            Ok(())
        },
    ),
    parameter(
        "subPathPattern",
        "a path that may contain ${.PVC.name}, ${.PVC.namespace} and ${.PV.name}",
        "the volume's name",
        "The volume's directory below basePath.",
        |class, given| {
            // An empty value is no pattern, as it always was.
            class.sub_path = match given.value {
                "" => None,
                text => Some(text.parse().or_else(|rule: String| given.refuse(rule))?),
            };
            Ok(())
        },
    ),
    parameter(
        "ensureUniqueDirectory",
        FLAG,
        "true",
        "With subPathPattern: lets something unique to the volume follow its directory's name.",
        |class, given| {
            class.unique_directory = Some(given.go_flag()?);
            Ok(())
        },
    ),
    parameter(
        "az",
        "the name of a zone",
        "not set",
        "With awsRoleArn in the Secret and without crossaccount: mounts go to the mount target of this zone.",
        |class, given| {
            class.zone = given.text().map(Zone);
            Ok(())
        },
    ),
    parameter(
        "reuseAccessPoint",
        FLAG,
        "false",
        "Gives a claim the access point that a claim of the same name and namespace had.",
        |class, given| {
            class.reuse = given.go_flag()?;
            Ok(())
        },
    ),
    parameter(
        "enforceZoneAffinity",
        FLAG,
        "false",
        "Lets pods with a volume of a One Zone file system run only in its zone.",
        |class, given| {
            class.enforce_zone = given.go_flag()?;
            Ok(())
        },
    ),
    parameter(
        "enableTagging",
        FLAG,
        "true",
        "Tags access points. Without tags the driver never deletes a volume's directory, and IAM policies that ask for the tag efs.csi.aws.com/cluster refuse it.",
        |class, given| {
            class.tagging = Some(given.go_flag()?);
            Ok(())
        },
    ),
    claim("csi.storage.k8s.io/pvc/name", |class, given| {
        class.claim.pvc_name = given.text();
        Ok(())
    }),
    claim("csi.storage.k8s.io/pvc/namespace", |class, given| {
        class.claim.pvc_namespace = given.text();
        Ok(())
    }),
    claim("csi.storage.k8s.io/pv/name", |class, given| {
        class.claim.pv_name = given.text();
        Ok(())
    }),
];

const fn claim(key: &'static str, apply: Apply) -> Parameter<Collected> {
    parameter(
        key,
        "set by the provisioner",
        "not set",
        "Fills in subPathPattern; becomes a tag.",
        apply,
    )
}
