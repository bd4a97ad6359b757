//! The command line. Names and defaults are those of the driver that this one replaces, where it
//! has them; what is read from the environment is listed by `--help`.

use std::time::Duration;

mod efs;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand};
use csi_core::Invalid;
use csi_core::parameters::{InvalidTags, check_kernel, tags};
use csi_imds::ImdsEndpoint;
use csi_serve::ServeArgs;

use crate::ebs::Settings;

pub use efs::{EfsArgs, EfsAwsArgs};

/// CSI controller plugin.
#[derive(Debug, Parser)]
#[command(name = "csi-controller", version)]
pub struct Args {
    /// For which driver.
    #[command(subcommand)]
    pub driver: Driver,
}

/// The drivers.
#[derive(Debug, Subcommand)]
pub enum Driver {
    /// Serve the controller side of ebs.csi.aws.com
    Ebs(Box<EbsArgs>),
    /// Serve the controller side of efs.csi.aws.com
    Efs(Box<EfsArgs>),
}

/// The command line of `csi-controller ebs`.
#[derive(Debug, ClapArgs)]
pub struct EbsArgs {
    /// How to serve.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// How to reach EC2.
    #[command(flatten)]
    pub aws: AwsArgs,
    #[command(flatten)]
    volumes: VolumeArgs,
    #[command(flatten)]
    _ignored: IgnoredArgs,
}

/// How to reach EC2. Credentials come from the standard chain: environment, web identity (IRSA),
/// container endpoint (EKS Pod Identity), instance profile.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "AWS")]
pub struct AwsArgs {
    /// Region; without it the instance metadata service is asked
    #[arg(long, env = "AWS_REGION", value_name = "REGION")]
    pub region: Option<String>,

    /// URL of EC2, where it is not the region's own
    #[arg(long, env = "AWS_EC2_ENDPOINT", value_name = "URL")]
    pub ec2_endpoint: Option<String>,

    /// Text to add to the user agent
    #[arg(long, value_name = "TEXT")]
    pub user_agent_extra: Option<String>,

    /// Calls per second that EC2 grants to an action where its quota is not the default, such as
    /// CreateVolume=20; repeatable
    #[arg(long, value_name = "ACTION=RATE")]
    pub ec2_rate: Vec<csi_aws::Rate>,

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
    /// Tags for everything that is made: key1=value1,key2=value2; on volumes the values are
    /// templates
    #[arg(long, default_value = "", hide_default_value = true)]
    extra_tags: String,

    /// Leave out tags that are reserved or malformed, with a line in the log, instead of refusing
    /// the volume or the snapshot
    #[arg(long, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    warn_on_invalid_tag: Option<bool>,

    /// Id of the cluster, for the tags that name it
    #[arg(long, value_name = "ID")]
    k8s_tag_cluster_id: Option<String>,

    /// How long a change of a volume waits for others, to be made with them in one modification, of
    /// which EC2 grants few in a day
    #[arg(long, value_parser = window, default_value = "2s", value_name = "DURATION")]
    modify_volume_request_handler_timeout: Duration,

    /// Publish volumes that EC2 attached to the nodes otherwise by the name of their device, which
    /// handles of the scheme local-ebs give
    #[arg(long, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    enable_node_local_volumes: Option<bool>,

    /// Version of the oldest kernel in the cluster, such as 5.10, which new file systems must suit;
    /// without it they suit every kernel since 4.16
    #[arg(long, value_parser = kernel, value_name = "VERSION")]
    oldest_kernel: Option<String>,

    /// Serve the listing of volumes, by which the attacher finds attachments that are missing
    #[arg(long, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    list_volumes: Option<bool>,
}

/// Flags of the driver that this one replaces which have nothing left to decide here.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Accepted and without effect")]
struct IgnoredArgs {
    /// Calls to EC2 are always batched
    #[arg(long, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    batching: Option<bool>,
}

fn window(text: &str) -> Result<Duration, String> {
    let window = csi_serve::parse_duration(text).map_err(|invalid| invalid.to_string())?;
    if window.is_zero() { Err("must be longer than 0".to_owned()) } else { Ok(window) }
}

fn kernel(text: &str) -> Result<String, Invalid> {
    check_kernel("version", text).map(|()| text.to_owned())
}

impl EbsArgs {
    /// What the controller is to do.
    ///
    /// # Errors
    /// An argument that breaks a rule which clap does not know.
    pub fn settings(&self) -> Result<Settings, Invalid> {
        let invalid_tags = match self.volumes.warn_on_invalid_tag {
            Some(true) => InvalidTags::Skip,
            Some(false) | None => InvalidTags::Refuse,
        };
        let extra_tags = &self.volumes.extra_tags;
        Ok(Settings {
            extra_tags: tags::parse_list("--extra-tags", extra_tags, invalid_tags)?,
            invalid_tags,
            cluster_id: self.volumes.k8s_tag_cluster_id.clone().filter(|id| !id.is_empty()),
            list_volumes: self.volumes.list_volumes.unwrap_or_default(),
            node_local_volumes: self.volumes.enable_node_local_volumes.unwrap_or_default(),
            oldest_kernel: self.volumes.oldest_kernel.clone(),
            modify_window: self.volumes.modify_volume_request_handler_timeout,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<EbsArgs, clap::Error> {
        let all = ["csi-controller", "ebs"].iter().chain(args);
        Args::try_parse_from(all).map(|args| match args.driver {
            Driver::Ebs(args) => *args,
            Driver::Efs(_) => unreachable!("the subcommand is ebs"),
        })
    }

    #[test]
    fn the_arguments_of_the_replaced_drivers_chart_are_accepted() {
        let args = parse(&[
            "--endpoint=unix:///csi/csi.sock",
            "--batching=true",
            "--user-agent-extra=helm",
            "--logging-format=text",
            "--v=2",
            "--extra-tags=team=storage,stage=test",
            "--k8s-tag-cluster-id=blue",
        ])
        .unwrap();
        let settings = args.settings().unwrap();
        assert_eq!(settings.cluster_id.as_deref(), Some("blue"));
        assert_eq!(settings.extra_tags.get("team").map(String::as_str), Some("storage"));
        assert_eq!(settings.extra_tags.len(), 2);
        assert!(!settings.list_volumes);
    }

    #[test]
    fn listing_volumes_is_asked_for_with_or_without_a_value() {
        for (argument, asked) in [
            ("--list-volumes", true),
            ("--list-volumes=true", true),
            ("--list-volumes=false", false),
        ] {
            assert_eq!(
                parse(&[argument]).unwrap().settings().unwrap().list_volumes,
                asked,
                "{argument}"
            );
        }
    }

    #[test]
    fn changes_of_a_volume_wait_two_seconds_for_each_other_unless_told_otherwise() {
        let window = |args: &[&str]| parse(args).map(|args| args.settings().unwrap().modify_window);
        assert_eq!(window(&[]).unwrap(), Duration::from_secs(2));
        let flag = "--modify-volume-request-handler-timeout";
        assert_eq!(window(&[flag, "500ms"]).unwrap(), Duration::from_millis(500));
        assert!(window(&[flag, "0s"]).is_err());
    }

    #[test]
    fn the_oldest_kernel_is_a_version() {
        let oldest = |text| parse(&["--oldest-kernel", text]).map(|args| args.settings().unwrap());
        assert_eq!(oldest("5.10").unwrap().oldest_kernel.as_deref(), Some("5.10"));
        assert!(oldest("new").is_err());
    }

    #[test]
    fn a_tag_that_is_none_or_is_reserved_is_refused_by_name() {
        for tag in ["team", "CSIVolumeName=x", "kubernetes.io/cluster/a=owned"] {
            let args = parse(&[&format!("--extra-tags={tag}")]).unwrap();
            assert_eq!(args.settings().unwrap_err().field, "--extra-tags");
        }
    }

    #[test]
    fn an_invalid_tag_is_left_out_on_request() {
        let args = parse(&["--extra-tags=CSIVolumeName=x,a=b", "--warn-on-invalid-tag"]).unwrap();
        let settings = args.settings().unwrap();
        assert_eq!(settings.extra_tags.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(settings.invalid_tags, InvalidTags::Skip);
    }
}
