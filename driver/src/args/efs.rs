//! The command line of `csi-controller efs`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args as ClapArgs};
use csi_core::Invalid;
use csi_core::efs::parse_tags;
use csi_imds::ImdsEndpoint;
use csi_serve::{ServeArgs, parse_duration};
use efs_tunnel::identity::Region;

use crate::efs::{Settings, ThroughTunnel, Where};

/// The command line of `csi-controller efs`.
#[derive(Debug, ClapArgs)]
pub struct EfsArgs {
    /// How to serve.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// How to reach EFS.
    #[command(flatten)]
    pub aws: EfsAwsArgs,
    #[command(flatten)]
    volumes: VolumeArgs,
    #[command(flatten)]
    directories: DirectoryArgs,
    #[command(flatten)]
    ignored: IgnoredArgs,
}

/// How to reach EFS. Credentials come from the standard chain: environment, web identity (IRSA),
/// container endpoint (EKS Pod Identity), instance profile.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "AWS")]
pub struct EfsAwsArgs {
    /// Region; without it the instance metadata service is asked
    #[arg(long, env = "AWS_REGION", value_name = "REGION")]
    pub region: Option<String>,

    /// Region where no other is named
    #[arg(long, env = "AWS_DEFAULT_REGION", value_name = "REGION", hide = true)]
    pub default_region: Option<String>,

    /// URL of EFS, where it is not the region's own
    #[arg(long, env = "AWS_EFS_ENDPOINT", value_name = "URL")]
    pub efs_endpoint: Option<String>,

    /// Text to add to the user agent
    #[arg(long, value_name = "TEXT")]
    pub user_agent_extra: Option<String>,

    /// Where the instance metadata service is
    #[arg(
        long,
        env = "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        default_value_t = ImdsEndpoint::default(),
        value_name = "URL"
    )]
    pub imds_endpoint: ImdsEndpoint,

    /// Do not ask the instance metadata service
    #[arg(long, env = "AWS_EC2_METADATA_DISABLED", value_parser = FalseyValueParser::new())]
    pub imds_disabled: bool,
}

#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Volumes")]
struct VolumeArgs {
    /// Tags for every access point: key1:value1 key2:value2; a backslash goes before a blank, a
    /// colon or a backslash that belongs to a key or a value
    #[arg(long, default_value = "", hide_default_value = true)]
    tags: String,

    /// kubeconfig of the cluster whose objects hold ids of file systems; without it, the
    /// pod's service account is used
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,

    /// Log more, as --v=5 does
    #[arg(long, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    debug_logs: Option<bool>,
}

#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Directories of deleted volumes")]
struct DirectoryArgs {
    /// Delete a volume's directory with it. Needs efs-tunnel in the same pod, and the capability
    /// `SYS_ADMIN`
    #[arg(long, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    delete_access_point_root_dir: Option<bool>,

    /// Control socket of the pod's efs-tunnel
    #[arg(long, default_value = "/var/run/efs/tunnel.sock", value_name = "PATH")]
    tunnel_socket: PathBuf,

    /// PEM file of the authorities that vouch for mount targets, as efs-tunnel sees it, instead of
    /// the region's
    #[arg(long, value_name = "PATH")]
    mount_ca_file: Option<PathBuf>,

    /// Suffix of the DNS names of file systems, instead of the region's
    #[arg(long, value_name = "NAME")]
    mount_dns_suffix: Option<String>,
}

/// Flags of the driver that this one replaces which have nothing to decide here. It has one command
/// line for controller and node, and charts give both parts the same flags.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Accepted and without effect")]
struct IgnoredArgs {
    /// Calls are always paced by what EFS grants
    #[arg(long, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    adaptive_retry_mode: Option<bool>,

    /// The log always goes to stderr
    #[arg(long, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    logtostderr: Option<bool>,

    /// A matter of nodes
    #[arg(long, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    vol_metrics_opt_in: Option<bool>,

    /// A matter of nodes
    #[arg(long, value_name = "MINUTES")]
    vol_metrics_refresh_period: Option<f64>,

    /// A matter of nodes
    #[arg(long, value_name = "NUMBER")]
    vol_metrics_fs_rate_limit: Option<u32>,

    /// A matter of nodes
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    unmount_timeout: Option<Duration>,
}

impl EfsArgs {
    /// What the controller is to do.
    ///
    /// # Errors
    /// An argument that breaks a rule which clap does not know.
    pub fn settings(&self) -> Result<Settings, Invalid> {
        Ok(Settings {
            tags: parse_tags("--tags", &self.volumes.tags)?,
            kubeconfig: self.volumes.kubeconfig.clone(),
        })
    }

    /// By what whole file systems are mounted, if volumes' directories are to be deleted.
    ///
    /// # Errors
    /// A region that cannot be one.
    pub fn wholes(&self, region: &str) -> Result<Option<ThroughTunnel>, Invalid> {
        let directories = &self.directories;
        if directories.delete_access_point_root_dir != Some(true) {
            return Ok(None);
        }
        let region =
            region.parse::<Region>().map_err(|error| Invalid::new("--region", error.rule))?;
        let place = Where {
            region,
            suffix: directories.mount_dns_suffix.clone(),
            ca_file: directories.mount_ca_file.clone(),
        };
        Ok(Some(ThroughTunnel::new(directories.tunnel_socket.clone(), place)))
    }

    /// How much to log.
    #[must_use]
    pub fn verbosity(&self) -> u8 {
        let asked = self.serve.verbosity;
        if self.volumes.debug_logs == Some(true) { asked.max(5) } else { asked }
    }

    /// The flags that change nothing, for the log.
    #[must_use]
    pub fn without_effect(&self) -> Vec<&'static str> {
        let ignored = &self.ignored;
        let given = [
            ("--adaptive-retry-mode", ignored.adaptive_retry_mode == Some(false)),
            ("--vol-metrics-opt-in", ignored.vol_metrics_opt_in == Some(true)),
            ("--vol-metrics-refresh-period", ignored.vol_metrics_refresh_period.is_some()),
            ("--vol-metrics-fs-rate-limit", ignored.vol_metrics_fs_rate_limit.is_some()),
            ("--logtostderr", ignored.logtostderr == Some(false)),
            ("--unmount-timeout", ignored.unmount_timeout.is_some()),
        ];
        given.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Args, Driver};
    use super::*;
    use clap::Parser;

    fn parse(args: &[&str]) -> EfsArgs {
        let all = ["csi-controller", "efs"].iter().chain(args);
        match Args::try_parse_from(all).unwrap().driver {
            Driver::Efs(args) => *args,
            Driver::Ebs(_) => unreachable!("the subcommand is efs"),
        }
    }

    #[test]
    fn the_arguments_of_the_replaced_drivers_chart_are_accepted() {
        let args = parse(&[
            "--endpoint=unix:///var/lib/csi/sockets/pluginproxy/csi.sock",
            "--logtostderr",
            "--v=2",
            "--delete-access-point-root-dir=false",
            "--tags=team:storage lone",
            "--adaptive-retry-mode=true",
            "--vol-metrics-opt-in=false",
        ]);
        let settings = args.settings().unwrap();
        let tags: Vec<_> = settings.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(tags, [("lone", ""), ("team", "storage")]);
        assert_eq!((args.verbosity(), args.without_effect()), (2, vec![]));
        assert_eq!(parse(&["--debug-logs"]).verbosity(), 5);
        assert_eq!(parse(&["--unmount-timeout=30s"]).without_effect(), ["--unmount-timeout"]);
    }

    #[test]
    fn a_tag_of_the_drivers_own_is_refused_by_name() {
        let args = parse(&["--tags=efs.csi.aws.com/cluster:false"]);
        assert_eq!(args.settings().unwrap_err().field, "--tags");
    }

    #[test]
    fn directories_are_deleted_only_on_request() {
        for arguments in [&[][..], &["--delete-access-point-root-dir=false"]] {
            assert!(parse(arguments).wholes("us-east-1").unwrap().is_none(), "{arguments:?}");
        }
        let asked = parse(&["--delete-access-point-root-dir", "--tunnel-socket=/t.sock"]);
        let wholes = asked.wholes("us-east-1").unwrap().unwrap();
        assert!(format!("{wholes:?}").contains("/t.sock"), "{wholes:?}");
        assert_eq!(asked.wholes("us east").unwrap_err().field, "--region");
    }
}
