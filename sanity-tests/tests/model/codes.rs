//! The codes that each call may answer, and the failure of EC2 that must have been seen for it.

use csi_core::ErrorKind;
use tonic::Code;

use crate::ask::{Kind, Request, Spec};

type Verbs = &'static [&'static str];

const ALL: Verbs = &[
    "CreateVolume",
    "DeleteVolume",
    "Publish",
    "Unpublish",
    "Expand",
    "Modify",
    "Tag",
    "CreateSnapshot",
    "DeleteSnapshot",
    "GetVolume",
    "Validate",
    "ListVolumes",
    "GetSnapshot",
    "ListSnapshots",
];
const CHANGES: Verbs = &[
    "CreateVolume",
    "DeleteVolume",
    "Publish",
    "Unpublish",
    "Expand",
    "Modify",
    "Tag",
    "CreateSnapshot",
    "DeleteSnapshot",
];

/// Verbs, code, and what EC2 must have answered: any of these, or nothing special.
const RULES: &[(Verbs, Code, &[ErrorKind])] = &[
    // An operation on the same thing is in progress, or the effect of this one is unknown.
    (CHANGES, Code::Aborted, &[]),
    (ALL, Code::Unavailable, &[ErrorKind::Unavailable, ErrorKind::NoAnswer, ErrorKind::Throttled]),
    (ALL, Code::PermissionDenied, &[ErrorKind::Denied]),
    (ALL, Code::Unauthenticated, &[ErrorKind::Credentials]),
    (ALL, Code::Internal, &[ErrorKind::Unexpected]),
    (&["CreateVolume", "CreateSnapshot"], Code::AlreadyExists, &[]),
    (&["CreateVolume"], Code::ResourceExhausted, &[ErrorKind::ZoneCapacity, ErrorKind::Quota]),
    (&["CreateSnapshot"], Code::ResourceExhausted, &[ErrorKind::Quota]),
    (&["CreateSnapshot"], Code::NotFound, &[ErrorKind::VolumeNotFound]),
    (&["CreateSnapshot"], Code::FailedPrecondition, &[ErrorKind::IncorrectState]),
    (
        &["DeleteVolume"],
        Code::FailedPrecondition,
        &[ErrorKind::VolumeInUse, ErrorKind::IncorrectState],
    ),
    (&["DeleteSnapshot"], Code::FailedPrecondition, &[ErrorKind::SnapshotInUse]),
    (&["Publish"], Code::NotFound, &[ErrorKind::VolumeNotFound]),
    (
        &["Publish"],
        Code::FailedPrecondition,
        &[ErrorKind::VolumeInUse, ErrorKind::ZoneMismatch, ErrorKind::IncorrectState],
    ),
    (&["Publish"], Code::ResourceExhausted, &[ErrorKind::AttachmentLimit]),
    // Stuck at the node, or undone by a removal at the same time.
    (&["Publish"], Code::Unavailable, &[]),
    (&["Publish", "Unpublish"], Code::DeadlineExceeded, &[]),
    // EC2's brakes, and modifications that fail.
    (&["Expand", "Modify", "Tag"], Code::Unavailable, &[]),
    (&["Expand", "Modify", "Tag"], Code::Internal, &[]),
    (&["Expand", "Modify", "Tag", "GetVolume", "Validate", "GetSnapshot"], Code::NotFound, &[]),
];

/// With a source: it is gone, pending, failed or too large.
const WITH_A_SOURCE: &[Code] =
    &[Code::NotFound, Code::Unavailable, Code::FailedPrecondition, Code::OutOfRange];

impl Request {
    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Self::Create { .. } => "CreateVolume",
            Self::Delete { .. } => "DeleteVolume",
            Self::Publish { .. } => "Publish",
            Self::Unpublish { .. } => "Unpublish",
            Self::Expand { .. } => "Expand",
            Self::Modify { .. } => "Modify",
            Self::Tag { .. } => "Tag",
            Self::Snapshot { .. } => "CreateSnapshot",
            Self::DeleteSnapshot { .. } => "DeleteSnapshot",
            Self::Get { .. } => "GetVolume",
            Self::Validate { .. } => "Validate",
            Self::List { .. } => "ListVolumes",
            Self::GetSnapshot { .. } => "GetSnapshot",
            Self::ListSnapshots { .. } => "ListSnapshots",
        }
    }

    /// Seconds within which it must be answered: the driver's bounds, and some for the last call.
    pub(crate) fn bound_secs(&self) -> u64 {
        match self {
            Self::Publish { .. } | Self::Unpublish { .. } => 365,
            Self::Delete { .. } => 65,
            request if request.changes() => 125,
            _ => 45,
        }
    }

    /// Whether the call may fail with this code after EC2 answered those failures.
    pub(crate) fn may_answer(&self, code: Code, seen: &[ErrorKind]) -> bool {
        if let Self::Create { spec, .. } = self
            && spec.may_answer(code)
        {
            return true;
        }
        RULES.iter().any(|(verbs, rule, needed)| {
            verbs.contains(&self.verb())
                && *rule == code
                && (needed.is_empty() || needed.iter().any(|kind| seen.contains(kind)))
        })
    }
}

impl Spec {
    fn may_answer(&self, code: Code) -> bool {
        let may_die = self.kind == Kind::Secret;
        // How many IOPS the zone grants is not known.
        let may_wait = self.kind == Kind::Vast;
        self.source.is_some() && WITH_A_SOURCE.contains(&code)
            || may_die && code == Code::FailedPrecondition
            || may_wait && code == Code::Unavailable
    }
}

/// Whether the sidecars take a code for the end: nothing was done, and nothing will be. Sources:
/// `checkError` of external-provisioner, `isFinalError` of external-attacher.
pub(crate) fn is_final(request: &Request, code: Code) -> bool {
    match code {
        Code::Cancelled | Code::DeadlineExceeded | Code::Unavailable | Code::Aborted => false,
        Code::ResourceExhausted => !matches!(request, Request::Publish { .. }),
        _ => true,
    }
}
