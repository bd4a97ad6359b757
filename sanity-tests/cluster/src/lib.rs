//! A real Kubernetes: etcd, API server, controller manager, scheduler and snapshot controller in the
//! bed's network namespace, kubelet and containerd in its guest, a simulated AWS that trusts the
//! API server's service account tokens, and the project's charts installed by helm.
//!
//! [`Cluster::start`] brings it up; dropping it leaves nothing behind. `make e2e` runs the tests on
//! it, `make cluster` gives it to a person.

mod aws;
mod charts;
mod control_plane;
mod kubectl;
mod left;
mod node;
mod outside;
mod parts;
mod pki;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use csi_bed::{Bed, Guest};
use csi_sim::client::AdminClient;
use csi_sim::world::Settings;
use tokio::task::block_in_place;

pub use aws::role;
pub use charts::Driver;
pub use control_plane::API;
pub use kubectl::Kubectl;
pub use node::NODE;

use aws::Aws;
use control_plane::ControlPlane;
use parts::Parts;

/// The region of everything.
pub(crate) const REGION: &str = "us-east-1";
/// The guest holds containers of both charts and of the tests.
const MEMORY_MIB: u32 = 3072;

/// A running cluster with one node and no driver yet. Dropping it ends all of it.
#[derive(Debug)]
pub struct Cluster {
    _control_plane: ControlPlane,
    aws: Aws,
    parts: Parts,
    kubectl: PathBuf,
    admin: PathBuf,
    bed: Bed,
}

impl Cluster {
    /// Starts everything and waits until the node is ready.
    pub async fn start(settings: Settings) -> Result<Self> {
        let parts = block_in_place(Parts::prepare)?;
        let bed = block_in_place(|| Bed::boot_with_memory(MEMORY_MIB)).context("the guest")?;
        let folder = bed.run_dir().join("kubernetes");
        let authority = control_plane::certify(&folder, NODE, node::ADDRESS)?;
        let aws = Aws::start(&bed, settings).await?;
        let admin = authority.at("admin", "kubeconfig");
        let kubectl =
            Kubectl { bed: &bed, program: &parts.tools.join("kubectl"), kubeconfig: &admin };
        let control_plane = ControlPlane::start(&bed, &parts.tools, &authority, &kubectl).await?;
        aws.trust(&kubectl.run(&["get", "--raw", "/openid/v1/jwks"])?).await?;
        let disk = node::make_disk(&bed, &parts.prepared, &parts.image)?;
        block_in_place(|| node::start(&bed, &disk, &authority, &aws.metadata, &aws.hosts))?;
        kubectl.until(Duration::from_mins(2), &["get", "node", NODE]).await?;
        kubectl.wait(&["node", NODE], "condition=Ready", Duration::from_mins(2))?;
        let kubectl = parts.tools.join("kubectl");
        Ok(Self { _control_plane: control_plane, aws, parts, kubectl, admin, bed })
    }

    /// kubectl as an administrator.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl<'_> {
        Kubectl { bed: &self.bed, program: &self.kubectl, kubeconfig: &self.admin }
    }

    /// The simulated AWS's admin interface.
    #[must_use]
    pub fn admin(&self) -> &AdminClient {
        &self.aws.admin
    }

    /// The node's machine.
    #[must_use]
    pub fn bed(&self) -> &Bed {
        &self.bed
    }

    /// The node.
    #[must_use]
    pub fn guest(&self) -> &Guest {
        self.bed.guest()
    }

    /// Folder of kubectl and the other programs.
    #[must_use]
    pub fn tools(&self) -> &Path {
        &self.parts.tools
    }

    /// The kubeconfig of an administrator. Its server is reached within the bed's network namespace
    /// only.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.admin
    }
}
