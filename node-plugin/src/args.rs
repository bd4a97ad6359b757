//! The command line. Names and defaults are those of the driver that this one replaces, where it
//! has them; what is read from the environment is listed by `--help`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args as ClapArgs, Parser, Subcommand};
use csi_core::{EBS_DRIVER_NAME, InstanceId};
use csi_imds::ImdsEndpoint;
use csi_serve::telemetry::LogFormat;
use csi_serve::{ServeArgs, parse_duration};

use crate::ebs::Settings;
use crate::ebs::info::LimitFlags;
use crate::metadata::{SourceName, SourceSettings};

mod efs;

pub use efs::{EfsArgs, TunnelArgs};

/// CSI node plugin.
#[derive(Debug, Parser)]
#[command(name = "csi-node", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the node side of ebs.csi.aws.com
    Ebs(Box<EbsArgs>),
    /// Serve the node side of efs.csi.aws.com
    Efs(Box<EfsArgs>),
    /// On a node that is drained or gone, wait until its volumes are detached; else end at once
    PreStopHook(HookArgs),
}

/// The command line of `csi-node pre-stop-hook`.
#[derive(Debug, Clone, ClapArgs)]
pub struct HookArgs {
    /// Name of this node in Kubernetes
    #[arg(long, env = "CSI_NODE_NAME", value_name = "NAME")]
    pub node_name: String,

    /// Driver whose volumes are waited for
    #[arg(long, default_value = EBS_DRIVER_NAME, value_name = "NAME")]
    pub driver_name: String,

    /// Longest to wait; without it, until the grace period of the pod is over
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    pub budget: Option<Duration>,

    /// Kubeconfig to use instead of the pod's service account
    #[arg(long, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,

    /// Format of the log on stderr
    #[arg(long, default_value = "text", value_enum, value_name = "FORMAT")]
    pub logging_format: LogFormat,
}

/// The command line of `csi-node ebs`.
#[derive(Debug, ClapArgs)]
pub struct EbsArgs {
    /// How to serve.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// Kubelet registration.
    #[command(flatten)]
    pub registration: RegistrationArgs,
    /// Leave the start-up taint ebs.csi.aws.com/agent-not-ready on this node to others
    #[arg(long, env = "DISABLE_TAINT_WATCHER", value_parser = FalseyValueParser::new())]
    pub disable_taint_watcher: bool,
    #[command(flatten)]
    metadata: MetadataArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    disks: DiskArgs,
}

/// How kubelet learns of the plugin.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Kubelet registration")]
pub struct RegistrationArgs {
    /// Path of the CSI socket as kubelet sees it; without it nothing is registered
    #[arg(long, value_name = "PATH")]
    pub kubelet_registration_path: Option<String>,

    /// Socket that kubelet's plugin watcher finds
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/var/lib/kubelet/plugins_registry/ebs.csi.aws.com-reg.sock"
    )]
    pub registration_socket: PathBuf,
}

#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Which instance this is")]
struct MetadataArgs {
    /// Sources to ask, in order: imds, kubernetes, flags
    #[arg(long, value_delimiter = ',', default_value = "imds,kubernetes", value_name = "LIST")]
    metadata_sources: Vec<SourceName>,

    /// Where the instance metadata service is
    #[arg(
        long,
        env = "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        default_value_t = ImdsEndpoint::default(),
        value_name = "URL"
    )]
    imds_endpoint: ImdsEndpoint,

    /// Do not ask the instance metadata service
    #[arg(long, env = "AWS_EC2_METADATA_DISABLED", value_parser = FalseyValueParser::new())]
    imds_disabled: bool,

    /// Name of this node in Kubernetes, for the source kubernetes
    #[arg(long, env = "CSI_NODE_NAME", value_name = "NAME")]
    node_name: Option<String>,

    /// Kubeconfig to use instead of the pod's service account
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,

    /// This instance's id, for the source flags
    #[arg(long, value_name = "ID")]
    instance_id: Option<InstanceId>,

    /// This instance's type, for the source flags
    #[arg(long, value_name = "TYPE")]
    instance_type: Option<String>,

    /// This instance's zone, for the source flags
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,

    /// This instance's region, whatever the sources say
    #[arg(long, env = "AWS_REGION", value_name = "REGION")]
    region: Option<String>,
}

#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Number of volumes")]
struct LimitArgs {
    /// Volumes that this node takes; -1 computes it from the instance type
    #[arg(
        long,
        default_value = "-1",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(i32).range(-1..),
        value_name = "N"
    )]
    volume_attach_limit: i32,

    /// Volumes to leave room for, the root among them; -1 counts those mapped at boot
    #[arg(
        long,
        default_value = "-1",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(i32).range(-1..),
        value_name = "N"
    )]
    reserved_volume_attachments: i32,
}

#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Disks")]
struct DiskArgs {
    /// How long to wait for a disk that is not there yet
    #[arg(long, default_value = "10s", value_parser = parse_duration, value_name = "DURATION")]
    device_timeout: Duration,

    /// Make XFS without shared extents, for kernels older than 4.16
    #[arg(long)]
    legacy_xfs: bool,

    /// Where sysfs is mounted
    #[arg(long, default_value = "/sys", value_name = "PATH")]
    sysfs: PathBuf,

    /// Where the device nodes are
    #[arg(long, default_value = "/dev", value_name = "PATH")]
    dev: PathBuf,
}

/// Flags that contradict each other or say something that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFlags {
    /// A limit of 0 would mean "no limit" to Kubernetes.
    #[error("--volume-attach-limit must not be 0, which Kubernetes reads as no limit")]
    ZeroLimit,
    /// Both limits are given.
    #[error("--volume-attach-limit and --reserved-volume-attachments exclude each other")]
    BothLimits,
    /// A limit is opted in to, and there is none.
    #[error("{flag} must be a number above 0 with {flag}-opt-in")]
    NoLimit {
        /// The flag.
        flag: &'static str,
    },
}

impl MetadataArgs {
    fn sources(&self) -> SourceSettings {
        let from = self.clone();
        let set = |text: Option<String>| text.filter(|text| !text.is_empty());
        SourceSettings {
            order: from.metadata_sources,
            imds: from.imds_endpoint,
            imds_disabled: from.imds_disabled,
            node_name: set(from.node_name),
            kubeconfig: from.kubeconfig.filter(|path| !path.as_os_str().is_empty()),
            instance: from.instance_id,
            instance_type: set(from.instance_type),
            zone: set(from.zone),
            region: set(from.region),
        }
    }
}

impl EbsArgs {
    /// Where to learn which instance this is.
    #[must_use]
    pub fn sources(&self) -> SourceSettings {
        self.metadata.sources()
    }

    /// What is said of the number of volumes.
    ///
    /// # Errors
    /// [`BadFlags`].
    pub fn limit_flags(&self) -> Result<LimitFlags, BadFlags> {
        let attach_limit = u32::try_from(self.limits.volume_attach_limit).ok();
        let reserved = u32::try_from(self.limits.reserved_volume_attachments).ok();
        match (attach_limit, reserved) {
            (Some(0), _) => Err(BadFlags::ZeroLimit),
            (Some(_), Some(_)) => Err(BadFlags::BothLimits),
            _ => Ok(LimitFlags { attach_limit, reserved }),
        }
    }

    /// How the service works.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings { device_wait: self.disks.device_timeout, legacy_xfs: self.disks.legacy_xfs }
    }

    /// Folders of sysfs and of device nodes.
    #[must_use]
    pub fn roots(&self) -> (PathBuf, PathBuf) {
        (self.disks.sysfs.clone(), self.disks.dev.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ebs(arguments: &[&str]) -> Result<Box<EbsArgs>, clap::Error> {
        let all = ["csi-node", "ebs"].iter().chain(arguments);
        Args::try_parse_from(all).map(|args| match args.command {
            Command::Ebs(args) => args,
            Command::Efs(_) | Command::PreStopHook(_) => panic!("another command"),
        })
    }

    #[test]
    fn the_defaults_are_those_of_the_driver_before_this_one() {
        let args = ebs(&[]).unwrap();
        assert_eq!(args.sources().order, [SourceName::Imds, SourceName::Kubernetes]);
        assert_eq!(args.limit_flags(), Ok(LimitFlags::default()));
        assert_eq!(args.roots(), (PathBuf::from("/sys"), PathBuf::from("/dev")));
    }

    #[test]
    fn limits_are_taken_and_contradictions_refused() {
        let flags = |arguments: &[&str]| ebs(arguments).unwrap().limit_flags();
        let limit = flags(&["--volume-attach-limit=7"]).unwrap();
        assert_eq!(limit, LimitFlags { attach_limit: Some(7), reserved: None });
        assert_eq!(flags(&["--reserved-volume-attachments", "0"]).unwrap().reserved, Some(0));
        assert_eq!(flags(&["--volume-attach-limit", "-1"]), Ok(LimitFlags::default()));
        assert_eq!(flags(&["--volume-attach-limit=0"]), Err(BadFlags::ZeroLimit));
        let both = ["--volume-attach-limit=7", "--reserved-volume-attachments=1"];
        assert_eq!(flags(&both), Err(BadFlags::BothLimits));
    }

    #[test]
    fn sources_are_an_ordered_list_and_unknown_ones_are_refused() {
        let args = ebs(&["--metadata-sources", "flags, IMDS"]).unwrap();
        assert_eq!(args.sources().order, [SourceName::Flags, SourceName::Imds]);
        assert!(ebs(&["--metadata-sources=ec2"]).is_err());
    }
}
