//! Where a node learns which instance it is: an ordered list of sources, as the operator gave it.
//! The first that answers wins; if none does, each one's failure is told.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use csi_core::instance::InstanceFacts;
use csi_core::rpc_error::Chain;
use csi_core::{InstanceId, Zone};
use csi_imds::{Imds, ImdsEndpoint, ImdsError};
use tracing::info;

pub mod node_object;

use self::node_object::NodeObjectError;

/// Longest that a source may take; the metadata service keeps to the same.
const PATIENCE: Duration = Duration::from_secs(3);
/// Times that a metadata service which gave a token is asked.
const IMDS_ASKS: u32 = 4;

/// A source by name, as `--metadata-sources` lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceName {
    /// The instance metadata service.
    Imds,
    /// The node's own object in Kubernetes.
    Kubernetes,
    /// The command line.
    Flags,
}

/// A text that names no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no metadata source; use imds, kubernetes or flags, in order of preference")]
pub struct UnknownSource(String);

impl FromStr for SourceName {
    type Err = UnknownSource;

    fn from_str(text: &str) -> Result<Self, UnknownSource> {
        match text.trim().to_ascii_lowercase().as_str() {
            "imds" => Ok(Self::Imds),
            "kubernetes" => Ok(Self::Kubernetes),
            "flags" => Ok(Self::Flags),
            _ => Err(UnknownSource(text.to_owned())),
        }
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Imds => "imds",
            Self::Kubernetes => "kubernetes",
            Self::Flags => "flags",
        })
    }
}

/// What the command line and the environment say of sources.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// Sources in order of preference.
    pub order: Vec<SourceName>,
    /// Where the metadata service is.
    pub imds: ImdsEndpoint,
    /// Whether it must not be asked.
    pub imds_disabled: bool,
    /// The node's name in Kubernetes.
    pub node_name: Option<String>,
    /// A kubeconfig to use instead of the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// The instance, as said by hand.
    pub instance: Option<InstanceId>,
    /// Its type, as said by hand.
    pub instance_type: Option<String>,
    /// Its zone, as said by hand.
    pub zone: Option<String>,
    /// Its region; wins over every source.
    pub region: Option<String>,
}

/// The sources of a node.
#[derive(Debug)]
pub struct Sources {
    settings: SourceSettings,
    imds: Imds,
}

/// Why a source does not answer.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The metadata service is switched off.
    #[error("switched off by AWS_EC2_METADATA_DISABLED")]
    Disabled,
    /// The metadata service fails.
    #[error(transparent)]
    Imds(#[from] ImdsError),
    /// Kubernetes fails.
    #[error(transparent)]
    Kubernetes(#[from] NodeObjectError),
    /// No answer in time.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// A flag is not given.
    #[error("{0} is not given")]
    NoFlag(&'static str),
}

/// No source knows the instance.
#[derive(Debug, thiserror::Error)]
#[error("no metadata source knows this instance: {}", list(failures))]
pub struct MetadataError {
    /// Each source with what it failed with.
    pub failures: Vec<(SourceName, SourceError)>,
}

fn list(failures: &[(SourceName, SourceError)]) -> String {
    let each = failures.iter().map(|(name, error)| format!("{name}: {}", Chain(error)));
    each.collect::<Vec<_>>().join("; ")
}

impl Sources {
    /// The sources that the settings list.
    #[must_use]
    pub fn new(settings: SourceSettings) -> Self {
        let imds = Imds::new(settings.imds.clone());
        Self { settings, imds }
    }

    /// The facts of the first source that answers.
    ///
    /// # Errors
    /// All sources' failures, each within three seconds, twelve from a metadata service that gives a
    /// token and then nothing.
    pub async fn facts(&self) -> Result<InstanceFacts, MetadataError> {
        let mut failures: Vec<(SourceName, SourceError)> = Vec::new();
        for &name in &self.settings.order {
            match self.ask(name).await {
                Ok(mut facts) => {
                    if let Some(region) = &self.settings.region {
                        facts.region.clone_from(region);
                    }
                    for (failed, error) in &failures {
                        info!(source = %failed, error = %Chain(error), "metadata source skipped");
                    }
                    return Ok(facts);
                }
                Err(error) => failures.push((name, error)),
            }
        }
        Err(MetadataError { failures })
    }

    /// The id of the instance's zone, `use1-az6`, which is the same in every account. Only the
    /// metadata service tells.
    ///
    /// # Errors
    /// [`SourceError`], within three seconds.
    pub async fn zone_id(&self) -> Result<String, SourceError> {
        let may_ask = self.settings.order.contains(&SourceName::Imds);
        if self.settings.imds_disabled || !may_ask {
            return Err(SourceError::Disabled);
        }
        Ok(self.imds.zone_id().await?)
    }

    /// A service that gave a token is there. Where the node is short of CPU it may be slow, and a
    /// plugin that ends and is started again makes that worse.
    async fn patient_imds(&self) -> Result<InstanceFacts, ImdsError> {
        for _ in 1..IMDS_ASKS {
            match self.imds.facts().await {
                Err(ImdsError::Silent { .. }) => {}
                decided => return decided,
            }
        }
        self.imds.facts().await
    }

    async fn ask(&self, name: SourceName) -> Result<InstanceFacts, SourceError> {
        let settings = &self.settings;
        match name {
            SourceName::Imds if settings.imds_disabled => Err(SourceError::Disabled),
            SourceName::Imds => Ok(self.patient_imds().await?),
            SourceName::Kubernetes => {
                let node = settings.node_name.as_deref();
                let fetch = node_object::fetch(node, settings.kubeconfig.as_deref());
                match tokio::time::timeout(PATIENCE, fetch).await {
                    Ok(facts) => Ok(facts?),
                    Err(_elapsed) => Err(SourceError::Silent),
                }
            }
            SourceName::Flags => from_flags(settings),
        }
    }
}

fn from_flags(settings: &SourceSettings) -> Result<InstanceFacts, SourceError> {
    let instance = settings.instance.clone().ok_or(SourceError::NoFlag("--instance-id"))?;
    let instance_type =
        settings.instance_type.clone().ok_or(SourceError::NoFlag("--instance-type"))?;
    let zone = settings.zone.clone().ok_or(SourceError::NoFlag("--zone"))?;
    // A zone is its region and a letter (EC2 user guide, "Regions and Zones").
    let region = zone.trim_end_matches(|c: char| c.is_ascii_lowercase()).to_owned();
    Ok(InstanceFacts {
        instance,
        instance_type,
        zone: Zone(zone),
        region,
        network_interfaces: None,
        block_devices: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(order: &[SourceName]) -> SourceSettings {
        SourceSettings {
            order: order.to_vec(),
            imds: ImdsEndpoint::default(),
            imds_disabled: true,
            node_name: None,
            kubeconfig: None,
            instance: Some("i-0123456789abcdef0".parse().unwrap()),
            instance_type: Some("m5.large".to_owned()),
            zone: Some("us-east-1a".to_owned()),
            region: None,
        }
    }

    #[tokio::test]
    async fn flags_alone_are_enough_and_other_sources_failures_do_not_matter_then() {
        let order = [SourceName::Imds, SourceName::Kubernetes, SourceName::Flags];
        let facts = Sources::new(settings(&order)).facts().await.unwrap();
        assert_eq!((facts.instance.as_str(), &*facts.region), ("i-0123456789abcdef0", "us-east-1"));
    }

    #[tokio::test]
    async fn every_failure_is_told_by_source() {
        let mut settings = settings(&[SourceName::Imds, SourceName::Kubernetes, SourceName::Flags]);
        settings.zone = None;
        let error = Sources::new(settings).facts().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "no metadata source knows this instance: \
             imds: switched off by AWS_EC2_METADATA_DISABLED; \
             kubernetes: CSI_NODE_NAME is not set, so the node's own object is not known; \
             flags: --zone is not given"
        );
    }

    #[test]
    fn names_of_sources_may_be_padded_and_capitalised_and_nothing_else() {
        assert_eq!(" IMDS ".parse(), Ok(SourceName::Imds));
        assert!("metadata".parse::<SourceName>().is_err());
    }
}
