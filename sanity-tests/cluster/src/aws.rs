//! The simulated AWS of a cluster: its instance, its file system, and the roles that the cluster's
//! service accounts may have.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use csi_bed::{Bed, HOST_ADDRESS};
use csi_sim::client::AdminClient;
use csi_sim::http::web_identity::Issuer;
use csi_sim::seed::{Seed, USUAL_FILE_SYSTEM};
use csi_sim::world::efs::FileSystemSeed;
use csi_sim::world::role::{RoleSeed, Trust};
use csi_sim::world::{InstanceSeed, Settings};
use sanity_tests::stand::{HostProgram, NODE_ID, ZONE, start_sim};

use crate::REGION;
use crate::control_plane::API;

/// The role of a driver's controller.
#[must_use]
pub fn role(driver: &str) -> String {
    format!("arn:aws:iam::123456789012:role/{driver}-csi-driver")
}

/// The simulated AWS.
#[derive(Debug)]
pub(crate) struct Aws {
    pub(crate) admin: AdminClient,
    /// `http://…`, as pods and the node reach it.
    pub(crate) endpoint: String,
    /// `host:port` of the instance's metadata, as the node reaches it.
    pub(crate) metadata: String,
    /// A line of `/etc/hosts` with the file system, as the VPC's resolver has it in the node's zone.
    pub(crate) hosts: String,
    _program: HostProgram,
}

impl Aws {
    pub(crate) async fn start(bed: &Bed, settings: Settings) -> Result<Self> {
        let run_dir = bed.run_dir();
        let mut instance = InstanceSeed::new("m5.large", ZONE);
        instance.id = Some(NODE_ID.to_owned());
        let mut seed = Seed::usual(REGION);
        // No key but those of the roles.
        seed.credentials.clear();
        seed.instances.push(instance);
        let target = Ipv4Addr::new(10, 92, 10, 1);
        seed.file_systems = vec![FileSystemSeed::new(USUAL_FILE_SYSTEM, &[(ZONE, target)])];
        seed.settings = Some(settings);
        let (program, announcement) = start_sim(bed, &seed, true).await?;
        let imds = announcement.imds.get(NODE_ID).context("aws-sim serves no metadata")?;
        let reached = |url: &str| url.replace("127.0.0.1", HOST_ADDRESS);
        Ok(Self {
            admin: AdminClient::at_socket(&run_dir.join("admin.sock")),
            endpoint: reached(&announcement.endpoint),
            metadata: reached(imds).trim_start_matches("http://").to_owned(),
            hosts: format!("{target} {USUAL_FILE_SYSTEM}.efs.{REGION}.amazonaws.com"),
            _program: program,
        })
    }

    /// Lets STS trust tokens of the cluster by its published keys, for a role of each driver.
    pub(crate) async fn trust(&self, keys: &str) -> Result<()> {
        let issuer = Issuer {
            issuer: API.to_owned(),
            jwks: serde_json::from_str(keys)?,
            audiences: vec!["sts.amazonaws.com".to_owned()],
        };
        let roles = ["ebs", "efs"].map(|driver| {
            let subject = format!("system:serviceaccount:kube-system:{driver}-csi-controller-sa");
            let trust = Trust::WebIdentity {
                issuer: API.to_owned(),
                subjects: vec![subject],
                audience: "sts.amazonaws.com".to_owned(),
            };
            RoleSeed::new(&role(driver), vec![trust])
        });
        let seed = Seed { issuers: vec![issuer], roles: roles.to_vec(), ..Seed::default() };
        self.admin.seed(&seed).await?;
        Ok(())
    }
}
