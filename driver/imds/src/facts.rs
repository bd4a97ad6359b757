//! The questions that make up [`InstanceFacts`].

use csi_core::instance::InstanceFacts;
use csi_core::{InstanceId, Zone};
use futures_util::future::{try_join, try_join_all};
use http::StatusCode;
use serde::Deserialize;
use tokio::time::Instant;

use crate::client::{Imds, PATIENCE};
use crate::endpoint::ImdsEndpoint;
use crate::error::ImdsError;

const DOCUMENT: &str = "/latest/dynamic/instance-identity/document";
const ZONE_ID: &str = "/latest/meta-data/placement/availability-zone-id";
const MACS: &str = "/latest/meta-data/network/interfaces/macs/";
const MAPPING: &str = "/latest/meta-data/block-device-mapping/";

/// What is read of the identity document; all of it is always there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    instance_id: String,
    instance_type: String,
    region: String,
    availability_zone: String,
}

/// The facts of the instance behind `endpoint`.
///
/// # Errors
/// [`ImdsError`], within three seconds.
pub async fn fetch(endpoint: &ImdsEndpoint) -> Result<InstanceFacts, ImdsError> {
    Imds::new(endpoint.clone()).facts().await
}

impl Imds {
    /// The facts of the instance. Asked again, it uses the token that it has.
    ///
    /// # Errors
    /// [`ImdsError`], within three seconds.
    pub async fn facts(&self) -> Result<InstanceFacts, ImdsError> {
        let until = Instant::now() + PATIENCE;
        // First and alone, so that a broken chain is asked for one token and not for three.
        let document = self.document(until).await?;
        let (network_interfaces, block_devices) =
            try_join(self.network_interfaces(until), self.block_devices(until)).await?;
        let instance: InstanceId = document
            .instance_id
            .parse()
            .map_err(|source| self.malformed(DOCUMENT, "an identity document", source))?;
        Ok(InstanceFacts {
            instance,
            instance_type: document.instance_type,
            zone: Zone(document.availability_zone),
            region: document.region,
            network_interfaces,
            block_devices,
        })
    }

    /// The id of the instance's zone, `use1-az6`, which is the same in every account.
    ///
    /// # Errors
    /// [`ImdsError`], within three seconds.
    pub async fn zone_id(&self) -> Result<String, ImdsError> {
        let text = self.required(ZONE_ID, Instant::now() + PATIENCE).await?;
        Ok(text.trim().to_owned())
    }

    /// The text at a path that is always there.
    async fn required(&self, path: &str, until: Instant) -> Result<String, ImdsError> {
        self.get(path, until).await?.ok_or_else(|| ImdsError::Refused {
            endpoint: self.endpoint().clone(),
            path: path.to_owned(),
            status: StatusCode::NOT_FOUND,
        })
    }

    async fn document(&self, until: Instant) -> Result<Document, ImdsError> {
        let text = self.required(DOCUMENT, until).await?;
        serde_json::from_str(&text)
            .map_err(|source| self.malformed(DOCUMENT, "an identity document", source))
    }

    /// The service lists a MAC address, with a slash at its end, for each interface.
    async fn network_interfaces(&self, until: Instant) -> Result<Option<u32>, ImdsError> {
        let Some(list) = self.get(MACS, until).await? else { return Ok(None) };
        let count = list.lines().filter(|line| is_mac(line.trim().trim_end_matches('/'))).count();
        u32::try_from(count)
            .map(Some)
            .map_err(|source| self.malformed(MACS, "a list of addresses", source))
    }

    /// The names of EBS devices, root first. `ami` and `root` are two words for the root device;
    /// `ephemeralN` and `swap` are instance store.
    async fn block_devices(&self, until: Instant) -> Result<Option<Vec<String>>, ImdsError> {
        let Some(list) = self.get(MAPPING, until).await? else { return Ok(None) };
        let entries: Vec<&str> = list.lines().map(str::trim).collect();
        let root = ["ami", "root"].into_iter().find(|name| entries.contains(name));
        let others = entries.iter().copied().filter(|name| name.starts_with("ebs"));
        let asked = root.into_iter().chain(others).map(|name| self.device(name, until));
        let mut devices = Vec::new();
        for device in try_join_all(asked).await?.into_iter().flatten() {
            if !devices.contains(&device) {
                devices.push(device);
            }
        }
        Ok(Some(devices))
    }

    /// The device behind an entry of the mapping; `None` if it has gone since the list was made.
    async fn device(&self, entry: &str, until: Instant) -> Result<Option<String>, ImdsError> {
        let name = self.get(&format!("{MAPPING}{entry}"), until).await?;
        Ok(name.map(|name| name.trim().trim_start_matches("/dev/").to_owned()))
    }
}

fn is_mac(text: &str) -> bool {
    let mut octets = 0;
    text.split(':').all(|octet| {
        octets += 1;
        octet.len() == 2 && octet.bytes().all(|byte| byte.is_ascii_hexdigit())
    }) && octets == 6
}

#[cfg(test)]
mod tests;
