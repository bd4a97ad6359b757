//! `--efs-utils-conf-overrides`: settings of upstream's mount helper, as operators of its driver give
//! them. There is no such helper here; what its settings meant for a mount is kept.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::info::Names;
use super::publish::MountSettings;

/// Settings that upstream's helper and watchdog have and that mean nothing here, or that efs-tunnel
/// reads: they are accepted and told.
const WITHOUT_EFFECT: [&str; 27] = [
    "DEFAULT:logging_level",
    "DEFAULT:logging_max_bytes",
    "DEFAULT:logging_file_count",
    "DEFAULT:state_file_dir_mode",
    "mount:stunnel_debug_enabled",
    "mount:stunnel_logs_file",
    "mount:stunnel_check_cert_validity",
    "mount:fips_mode_enabled",
    "mount:port_range_lower_bound",
    "mount:port_range_upper_bound",
    "mount:fall_back_to_mount_target_ip_address_enabled",
    "mount:disable_fetch_ec2_metadata_token",
    "mount:retry_nfs_mount_command_count",
    "mount:dns_name_format",
    "mount:az_id",
    "mount-watchdog:enabled",
    "mount-watchdog:poll_interval_sec",
    "mount-watchdog:unmount_count_for_consistency",
    "mount-watchdog:unmount_grace_period_sec",
    "mount-watchdog:tls_cert_renewal_interval_min",
    "mount-watchdog:stunnel_health_check_enabled",
    "mount-watchdog:stunnel_health_check_interval_min",
    "mount-watchdog:stunnel_health_check_command_timeout_sec",
    "client-info:source",
    "cloudwatch-log:enabled",
    "cloudwatch-log:log_group_name",
    "cloudwatch-log:retention_in_days",
];

/// Default of the time that a refused mount is tried again: three tries of fifteen seconds.
const RETRY_FOR: Duration = Duration::from_secs(45);

/// Settings for names and mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overrides {
    /// `mount:region`.
    pub region: Option<String>,
    /// Names and who vouches for them.
    pub names: Names,
    /// How mounts are made.
    pub mount: MountSettings,
    /// Settings that were given and have no effect here.
    pub idle: Vec<String>,
}

impl Default for Overrides {
    fn default() -> Self {
        Self {
            region: None,
            names: Names { suffix: None, check_name: true, ca_file: None },
            mount: MountSettings { retry_for: RETRY_FOR, read_ahead: true },
            idle: Vec::new(),
        }
    }
}

/// A text that is no list of settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting:?}: {rule}")]
pub struct BadOverride {
    setting: String,
    rule: &'static str,
}

impl FromStr for Overrides {
    type Err = BadOverride;

    /// Reads `section:key=value,section:key=value`.
    fn from_str(text: &str) -> Result<Self, BadOverride> {
        let mut read = Self::default();
        for setting in text.split(',').map(str::trim).filter(|setting| !setting.is_empty()) {
            read.take(setting).map_err(|rule| BadOverride { setting: setting.to_owned(), rule })?;
        }
        Ok(read)
    }
}

impl Overrides {
    fn take(&mut self, setting: &str) -> Result<(), &'static str> {
        let (key, value) = setting.split_once('=').ok_or("want section:key=value")?;
        let (key, value) = (key.trim(), value.trim());
        match key {
            "mount:region" => self.region = Some(value.to_owned()),
            "mount:dns_name_suffix" => self.names.suffix = Some(value.to_owned()),
            "mount:stunnel_check_cert_hostname" => self.names.check_name = boolean(value)?,
            "mount:stunnel_cafile" => {
                let path = PathBuf::from(value);
                if !path.is_absolute() {
                    return Err("must be an absolute path");
                }
                self.names.ca_file = Some(path);
            }
            "mount:optimize_readahead" => self.mount.read_ahead = boolean(value)?,
            "mount:retry_nfs_mount_command" => {
                if !boolean(value)? {
                    self.mount.retry_for = Duration::ZERO;
                }
            }
            "mount:retry_nfs_mount_command_timeout_sec" => {
                let seconds =
                    value.parse().map_err(|_not_a_number| "must be a number of seconds")?;
                self.mount.retry_for = Duration::from_secs(seconds);
            }
            known if WITHOUT_EFFECT.contains(&known) => self.idle.push(known.to_owned()),
            _ => return Err("is no setting of efs-utils.conf"),
        }
        Ok(())
    }
}

fn boolean(value: &str) -> Result<bool, &'static str> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true or false"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_mean_something_here_are_taken_and_others_told() {
        let read: Overrides = "mount:dns_name_suffix=example.test, mount:optimize_readahead=false,\
                               mount:stunnel_cafile=/Ca.pem,mount:stunnel_check_cert_hostname=no,\
                               mount:retry_nfs_mount_command_timeout_sec=7,\
                               mount-watchdog:poll_interval_sec=2"
            .parse()
            .unwrap();
        assert_eq!(read.names.suffix.as_deref(), Some("example.test"));
        assert_eq!(read.names.ca_file, Some("/Ca.pem".into()));
        assert!(!read.names.check_name && !read.mount.read_ahead);
        assert_eq!(read.mount.retry_for, Duration::from_secs(7));
        assert_eq!(read.idle, ["mount-watchdog:poll_interval_sec"]);
        assert_eq!("".parse(), Ok(Overrides::default()));
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for text in ["mount:nothing=1", "mount", "mount:optimize_readahead=2", "x:region=y"] {
            assert!(text.parse::<Overrides>().is_err(), "{text}");
        }
    }
}
