//! `NodeGetInfo`: who this node is and where; and the zone's names, by which mount targets are found.

use std::collections::BTreeMap;
use std::path::PathBuf;

use csi_core::instance::InstanceFacts;
use csi_core::rpc_error::Chain;
use csi_core::topology;
use csi_proto::csi::{NodeGetInfoResponse, Topology};
use tokio::sync::OnceCell;
use tracing::warn;

use super::route::Here;
use crate::metadata::{MetadataError, Sources};

/// What an operator says of names, instead of what AWS has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Suffix of DNS names.
    pub suffix: Option<String>,
    /// Whether a mount target's certificate must bear the file system's name.
    pub check_name: bool,
    /// Authorities that vouch for mount targets.
    pub ca_file: Option<PathBuf>,
}

/// Answers from what the metadata sources said at the start. None of it changes while an instance
/// runs.
#[derive(Debug)]
pub struct Info {
    sources: Sources,
    facts: InstanceFacts,
    names: Names,
    /// Volumes that this node takes; 0 is no limit.
    limit: u32,
    zone_id: OnceCell<String>,
}

impl Info {
    /// Asks the sources once: a node that does not know itself cannot serve.
    ///
    /// # Errors
    /// [`MetadataError`] if no source answers.
    pub async fn start(sources: Sources, names: Names, limit: u32) -> Result<Self, MetadataError> {
        let facts = sources.facts().await?;
        Ok(Self { sources, facts, names, limit, zone_id: OnceCell::new() })
    }

    /// The answer of `NodeGetInfo`.
    #[must_use]
    pub fn answer(&self) -> NodeGetInfoResponse {
        let zone = (topology::ZONE_KEY.to_owned(), self.facts.zone.0.clone());
        NodeGetInfoResponse {
            node_id: self.facts.instance.to_string(),
            max_volumes_per_node: i64::from(self.limit),
            accessible_topology: Some(Topology { segments: BTreeMap::from([zone]) }),
        }
    }

    /// Where this node is. The zone's id is asked for only if it is needed, and remembered.
    pub async fn here(&self, with_zone_id: bool) -> Here {
        let zone_id = if with_zone_id { self.zone_id().await } else { None };
        Here {
            region: self.facts.region.clone(),
            zone: self.facts.zone.0.clone(),
            zone_id,
            suffix: self.names.suffix.clone(),
            check_name: self.names.check_name,
            ca_file: self.names.ca_file.clone(),
        }
    }

    async fn zone_id(&self) -> Option<String> {
        match self.zone_id.get_or_try_init(|| self.sources.zone_id()).await {
            Ok(id) => Some(id.clone()),
            Err(error) => {
                warn!(error = %Chain(&error), "the zone's id is not known");
                None
            }
        }
    }
}
