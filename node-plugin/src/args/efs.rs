//! The command line of `csi-node efs`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use clap::builder::FalseyValueParser;
use csi_serve::{ServeArgs, parse_duration};

use super::{BadFlags, MetadataArgs};
use crate::efs::Settings;
use crate::efs::info::Names;
use crate::efs::overrides::Overrides;
use crate::metadata::SourceSettings;

/// The command line of `csi-node efs`.
#[derive(Debug, ClapArgs)]
pub struct EfsArgs {
    /// How to serve.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// Path of the CSI socket as kubelet sees it; without it nothing is registered
    #[arg(long, value_name = "PATH", help_heading = "Kubelet registration")]
    pub kubelet_registration_path: Option<String>,
    /// Socket that kubelet's plugin watcher finds
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/var/lib/kubelet/plugins_registry/efs.csi.aws.com-reg.sock",
        help_heading = "Kubelet registration"
    )]
    pub registration_socket: PathBuf,
    /// Leave the start-up taint efs.csi.aws.com/agent-not-ready on this node to others
    #[arg(long, env = "DISABLE_TAINT_WATCHER", value_parser = FalseyValueParser::new())]
    pub disable_taint_watcher: bool,
    #[command(flatten)]
    metadata: MetadataArgs,
    /// The tunnel.
    #[command(flatten)]
    pub tunnel: TunnelArgs,
    #[command(flatten)]
    mounts: MountArgs,
    #[command(flatten)]
    accepted: AcceptedArgs,
}

/// Where the tunnel is, and what is remembered of it.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Tunnel")]
pub struct TunnelArgs {
    /// Control socket of efs-tunnel on this node
    #[arg(long, default_value = "/var/run/efs/tunnel.sock", value_name = "PATH")]
    pub tunnel_socket: PathBuf,

    /// Folder for the record of ports that mounts use
    #[arg(long, default_value = "/var/run/efs/csi-node", value_name = "PATH")]
    pub state_dir: PathBuf,

    /// Folder for state in the format of efs-utils, which a rollback needs
    #[arg(long, default_value = "/var/run/efs", value_name = "PATH")]
    pub rollback_dir: PathBuf,

    /// Folder of the kubelet; state for a rollback is kept for mounts below it
    #[arg(long, default_value = "/var/lib/kubelet", value_name = "PATH")]
    pub kubelet_dir: PathBuf,
}

#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Mounts")]
struct MountArgs {
    /// Turn calls away beyond --max-inflight-mount-calls, instead of letting them wait
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    max_inflight_mount_calls_opt_in: bool,

    /// Mounts at once, with --max-inflight-mount-calls-opt-in
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, value_name = "N")]
    max_inflight_mount_calls: i64,

    /// Report --volume-attach-limit to Kubernetes
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    volume_attach_limit_opt_in: bool,

    /// Volumes that this node takes, with --volume-attach-limit-opt-in
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, value_name = "N")]
    volume_attach_limit: i64,

    /// How long an unmount may take before the mount is detached
    #[arg(long, default_value = "30s", value_parser = parse_duration, value_name = "DURATION")]
    unmount_timeout: Duration,

    /// Settings of efs-utils.conf to change: section:key=value,…
    #[arg(long, default_value = "", value_name = "LIST")]
    efs_utils_conf_overrides: Overrides,

    /// Where sysfs is mounted
    #[arg(long, default_value = "/sys", value_name = "PATH")]
    sysfs: PathBuf,
}

/// Flags of the driver that this one replaces which have nothing to act on here.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Accepted without effect")]
struct AcceptedArgs {
    /// A mount that does not unmount in time is always detached
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    force_unmount_after_timeout: Option<bool>,

    /// Volumes are always measured: the file system is asked, and no tree is walked
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    vol_metrics_opt_in: Option<bool>,

    /// Each call measures
    #[arg(long, value_name = "MINUTES")]
    vol_metrics_refresh_period: Option<f64>,

    /// Each call measures
    #[arg(long, value_name = "N")]
    vol_metrics_fs_rate_limit: Option<u32>,

    /// efs-tunnel has the key
    #[arg(long, value_name = "PATH")]
    efs_utils_config_dir_path: Option<PathBuf>,

    /// efs-tunnel has the key
    #[arg(long, value_name = "PATH")]
    efs_utils_config_legacy_dir_path: Option<PathBuf>,

    /// There are no such files
    #[arg(long, value_name = "PATH")]
    efs_utils_static_files_path: Option<PathBuf>,

    /// Use --v=4
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    debug_logs: Option<bool>,

    /// Logs go to stderr
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    logtostderr: Option<bool>,

    /// Logs go to stderr alone
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    efs_cloudwatch_log_enabled: Option<bool>,
}

impl EfsArgs {
    /// Where to learn which instance this is.
    #[must_use]
    pub fn sources(&self) -> SourceSettings {
        let mut sources = self.metadata.sources();
        if let Some(region) = &self.mounts.efs_utils_conf_overrides.region {
            sources.region.get_or_insert_with(|| region.clone());
        }
        sources
    }

    /// How the service works.
    ///
    /// # Errors
    /// [`BadFlags`].
    pub fn settings(&self) -> Result<Settings, BadFlags> {
        let from = &self.mounts;
        let mount_limit = limit(
            "--max-inflight-mount-calls",
            from.max_inflight_mount_calls_opt_in,
            from.max_inflight_mount_calls,
        )?;
        Ok(Settings {
            mount: from.efs_utils_conf_overrides.mount,
            unmount_timeout: from.unmount_timeout,
            mount_limit,
        })
    }

    /// How many volumes this node takes; 0 is no limit.
    ///
    /// # Errors
    /// [`BadFlags`].
    pub fn volume_limit(&self) -> Result<u32, BadFlags> {
        let (opt_in, value) =
            (self.mounts.volume_attach_limit_opt_in, self.mounts.volume_attach_limit);
        Ok(limit("--volume-attach-limit", opt_in, value)?.unwrap_or(0))
    }

    /// What is said of names, instead of what AWS has.
    #[must_use]
    pub fn names(&self) -> Names {
        self.mounts.efs_utils_conf_overrides.names.clone()
    }

    /// Where sysfs is.
    #[must_use]
    pub fn sysfs(&self) -> PathBuf {
        self.mounts.sysfs.clone()
    }

    /// Names of flags and settings that were given and have no effect, for the log.
    #[must_use]
    pub fn without_effect(&self) -> Vec<String> {
        let from = &self.accepted;
        let flags = [
            ("--force-unmount-after-timeout", from.force_unmount_after_timeout.is_some()),
            ("--vol-metrics-opt-in", from.vol_metrics_opt_in.is_some()),
            ("--vol-metrics-refresh-period", from.vol_metrics_refresh_period.is_some()),
            ("--vol-metrics-fs-rate-limit", from.vol_metrics_fs_rate_limit.is_some()),
            ("--efs-utils-config-dir-path", from.efs_utils_config_dir_path.is_some()),
            ("--efs-utils-config-legacy-dir-path", from.efs_utils_config_legacy_dir_path.is_some()),
            ("--efs-utils-static-files-path", from.efs_utils_static_files_path.is_some()),
            ("--debug-logs", from.debug_logs.is_some()),
            ("--logtostderr", from.logtostderr.is_some()),
            ("--efs-cloudwatch-log-enabled", from.efs_cloudwatch_log_enabled.is_some()),
        ];
        let given = flags.iter().filter(|(_, given)| *given).map(|(flag, _)| (*flag).to_owned());
        given.chain(self.mounts.efs_utils_conf_overrides.idle.iter().cloned()).collect()
    }
}

/// A limit that counts only with its opt-in.
fn limit<N: TryFrom<i64>>(
    flag: &'static str,
    opt_in: bool,
    value: i64,
) -> Result<Option<N>, BadFlags> {
    if !opt_in {
        return Ok(None);
    }
    let positive = N::try_from(value).ok().filter(|_| value > 0);
    positive.map(Some).ok_or(BadFlags::NoLimit { flag })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Command};
    use crate::metadata::SourceName;
    use clap::Parser;

    fn efs(arguments: &[&str]) -> Result<Box<EfsArgs>, clap::Error> {
        let all = ["csi-node", "efs"].iter().chain(arguments);
        Args::try_parse_from(all).map(|args| match args.command {
            Command::Efs(args) => args,
            _ => panic!("another command"),
        })
    }

    #[test]
    fn the_defaults_are_those_of_the_driver_before_this_one() {
        let args = efs(&[]).unwrap();
        assert_eq!(args.sources().order, [SourceName::Imds, SourceName::Kubernetes]);
        let settings = args.settings().unwrap();
        assert_eq!(settings.unmount_timeout, Duration::from_secs(30));
        assert_eq!((settings.mount_limit, args.volume_limit()), (None, Ok(0)));
        assert_eq!(args.without_effect(), [""; 0]);
    }

    #[test]
    fn limits_count_only_with_their_opt_in_and_then_must_be_limits() {
        let limits = |arguments: &[&str]| {
            let args = efs(arguments).unwrap();
            args.settings().map(|settings| (settings.mount_limit, args.volume_limit().unwrap()))
        };
        let unused = ["--max-inflight-mount-calls=5", "--volume-attach-limit=7"];
        assert_eq!(limits(&unused), Ok((None, 0)));
        let used = ["--max-inflight-mount-calls-opt-in", "--volume-attach-limit-opt-in=true"];
        assert_eq!(limits(&[unused, used].concat()), Ok((Some(5), 7)));
        let flag = "--max-inflight-mount-calls";
        assert_eq!(limits(&used), Err(BadFlags::NoLimit { flag }));
        assert!(efs(&used).unwrap().volume_limit().is_err());
    }

    #[test]
    fn flags_of_the_old_chart_are_accepted_and_told_and_unknown_ones_refused() {
        let chart = [
            "--endpoint=unix:/csi/csi.sock",
            "--logtostderr",
            "--v=2",
            "--vol-metrics-opt-in=false",
            "--vol-metrics-refresh-period=240",
            "--vol-metrics-fs-rate-limit=5",
            "--force-unmount-after-timeout=true",
            "--unmount-timeout=10s",
            "--efs-utils-conf-overrides=mount:region=eu-west-1,mount-watchdog:enabled=true",
        ];
        let args = efs(&chart).unwrap();
        assert_eq!(args.sources().region.as_deref(), Some("eu-west-1"));
        assert_eq!(args.settings().unwrap().unmount_timeout, Duration::from_secs(10));
        let idle = args.without_effect();
        assert_eq!(idle.len(), 6, "{idle:?}");
        assert!(idle.contains(&"mount-watchdog:enabled".to_owned()));
        for unknown in ["--whatever", "--efs-utils-conf-overrides=mount:nothing=1"] {
            assert!(efs(&[unknown]).is_err(), "{unknown}");
        }
    }
}
