//! The way to a file system: from handle, context and options to the identity that the tunnel
//! serves. A pure function of them and of where this node is.
//!
//! Names: EFS user guide, "Mounting on EC2 with a DNS name" and "Mounting from another VPC". The
//! VPC's resolver leads the regional name to the mount target in the asker's zone.

use std::path::PathBuf;

use csi_core::Invalid;
use csi_core::efs::VolumeHandle;
use csi_core::rpc_error::GrpcCode;
use efs_tunnel::Identity;
use efs_tunnel::identity::{Authority, CredentialsMethod, InvalidText, Region, Target, Tls};
use tonic::Code;

use super::context::VolumeContext;
use super::options::Helper;
use super::options::helper::Way;

/// Where this node is, and what its operator says of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// The region.
    pub region: String,
    /// The zone by the account's name, `us-east-1a`.
    pub zone: String,
    /// The zone by the name that all accounts share, `use1-az1`, if it was asked for and is known.
    pub zone_id: Option<String>,
    /// Suffix of DNS names, instead of the region's.
    pub suffix: Option<String>,
    /// Whether a mount target's certificate must bear the file system's name.
    pub check_name: bool,
    /// Authorities that vouch for mount targets, instead of Amazon's.
    pub ca_file: Option<PathBuf>,
}

/// How a file system is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Who is shown to whom. Equal identities share a port.
    pub identity: Identity,
    /// Mount targets to try when the identity's own does not answer.
    pub failover: Vec<Target>,
    /// The port that must be used, if it was asked for.
    pub port: Option<u16>,
}

/// Why there is no way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// What is asked for contradicts itself.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A name that is put together is none.
    #[error("no way to the file system")]
    BadName(#[from] InvalidText),
    /// The zone's id is needed and not known.
    #[error(
        "crossaccount needs the id of this node's zone, which only the instance metadata service \
         tells; let this node reach it, or give the address with mounttargetip"
    )]
    NoZoneId,
}

impl GrpcCode for RouteError {
    fn code(&self) -> Code {
        match self {
            Self::Invalid(_) | Self::BadName(_) => Code::InvalidArgument,
            Self::NoZoneId => Code::Unavailable,
        }
    }
}

impl Route {
    /// The way to a volume's file system.
    ///
    /// # Errors
    /// [`RouteError`].
    pub fn new(
        handle: &VolumeHandle,
        context: &VolumeContext,
        helper: &Helper,
        here: &Here,
    ) -> Result<Self, RouteError> {
        let access_point = access_point(handle, helper)?;
        let encrypted = encrypted(context, helper, access_point.is_some())?;
        let region: Region = helper.region.as_deref().unwrap_or(&here.region).parse()?;
        let name = region.name_of(handle.file_system().as_str(), here.suffix.as_deref());
        let (target, failover) = targets(&name, context, helper, here)?;
        let tls = if encrypted {
            Some(Tls {
                server_name: name.parse()?,
                check_name: here.check_name,
                authority: authority(helper, here, &region),
                iam: helper.iam.then(|| credentials(helper)),
            })
        } else {
            None
        };
        let identity = Identity {
            file_system: handle.file_system().as_str().parse()?,
            access_point: access_point.map(str::parse).transpose()?,
            region,
            target,
            tls,
        };
        Ok(Self { identity, failover, port: helper.port })
    }
}

fn invalid(key: &str, rule: &str) -> Invalid {
    Invalid::new(key, rule)
}

fn access_point<'a>(
    handle: &'a VolumeHandle,
    helper: &'a Helper,
) -> Result<Option<&'a str>, Invalid> {
    match (handle.access_point(), &helper.access_point) {
        (Some(id), Some(other)) if id != other => Err(invalid(
            "mount_flags.accesspoint",
            "names another access point than the volume handle",
        )),
        (None, None) => Ok(None),
        (Some(id), _) | (None, Some(id)) => Ok(Some(id.as_str())),
    }
}

/// Without encryption there is no certificate, in which access point and identity travel. A volume
/// with an access point is encrypted, whatever the context says, as it always has been.
fn encrypted(
    context: &VolumeContext,
    helper: &Helper,
    has_access_point: bool,
) -> Result<bool, Invalid> {
    let broken = [
        (
            helper.way == Way::Encrypted && !context.encrypt,
            "mount_flags.tls",
            "contradicts encryptInTransit=false in the volume context",
        ),
        (
            helper.way == Way::Clear && context.encrypt,
            "mount_flags.notls",
            "contradicts encryptInTransit, which is true unless the volume context says otherwise",
        ),
        (
            helper.way == Way::Clear && has_access_point,
            "mount_flags.notls",
            "excludes an access point, which needs an encrypted way",
        ),
        (
            helper.iam && !context.encrypt && !has_access_point,
            "mount_flags.iam",
            "needs an encrypted way, so encryptInTransit must not be false",
        ),
    ];
    match broken.into_iter().find(|(broken, ..)| *broken) {
        Some((_, key, rule)) => Err(invalid(key, rule)),
        None => Ok(context.encrypt || has_access_point),
    }
}

/// The mount target to dial, and those that stand by.
fn targets(
    name: &str,
    context: &VolumeContext,
    helper: &Helper,
    here: &Here,
) -> Result<(Target, Vec<Target>), RouteError> {
    let address = match (context.mount_target_ip, helper.mount_target_ip) {
        (Some(one), Some(other)) if one != other => {
            let rule = "names another address than the volume context";
            return Err(invalid("mount_flags.mounttargetip", rule).into());
        }
        (one, other) => one.or(other),
    };
    if context.cross_account {
        if address.is_some() || helper.zone.is_some() {
            let rule = "excludes the options az and mounttargetip";
            return Err(invalid("volume_context.crossaccount", rule).into());
        }
        let zone = here.zone_id.as_deref().ok_or(RouteError::NoZoneId)?;
        return Ok((format!("{zone}.{name}").parse()?, Vec::new()));
    }
    if let Some(address) = address {
        return Ok((address.to_string().parse()?, Vec::new()));
    }
    let own = helper.zone.as_deref().unwrap_or(&here.zone);
    let (near, far): (Vec<_>, Vec<_>) =
        context.mount_target_ips.iter().partition(|(zone, _)| zone.as_str() == own);
    let mut in_order = near.into_iter().chain(far).map(|(_, ip)| ip.to_string().parse());
    if let Some(first) = in_order.next() {
        return Ok((first?, in_order.collect::<Result<_, _>>()?));
    }
    match &helper.zone {
        Some(zone) => Ok((format!("{zone}.{name}").parse()?, Vec::new())),
        None => Ok((name.parse()?, Vec::new())),
    }
}

fn authority(helper: &Helper, here: &Here, region: &Region) -> Authority {
    let file = helper.ca_file.as_ref().or(here.ca_file.as_ref());
    match file {
        _ if helper.no_verify => Authority::Unverified,
        Some(path) => Authority::File { path: path.clone() },
        None => Authority::of_region(region),
    }
}

fn credentials(helper: &Helper) -> CredentialsMethod {
    match (&helper.profile, &helper.web_identity) {
        (Some(name), _) => CredentialsMethod::Profile { name: name.clone() },
        (None, Some(web)) => CredentialsMethod::WebIdentity {
            role_arn: web.role.clone(),
            token_file: web.token_file.clone(),
        },
        (None, None) => CredentialsMethod::Default,
    }
}

#[cfg(test)]
pub(crate) mod tests;
