//! The calls that Kubernetes' sidecars and kubelet make, with their habit of asking again.

mod controller;
mod node;

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use csi_proto::csi;
use csi_proto::csi::identity_client::IdentityClient;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};
use tower::service_fn;

pub use controller::{Claim, Controller, Volume};
pub use node::{Node, Placement};

/// A volume with a file system, written to by one node.
#[must_use]
pub fn mount(fs_type: &str) -> csi::VolumeCapability {
    use csi::volume_capability::{AccessType, MountVolume};
    writer(AccessType::Mount(MountVolume { fs_type: fs_type.to_owned(), ..Default::default() }))
}

/// A raw block device, written to by one node.
#[must_use]
pub fn block() -> csi::VolumeCapability {
    use csi::volume_capability::{AccessType, BlockVolume};
    writer(AccessType::Block(BlockVolume {}))
}

fn writer(access_type: csi::volume_capability::AccessType) -> csi::VolumeCapability {
    use csi::volume_capability::{AccessMode, access_mode::Mode};
    csi::VolumeCapability {
        access_mode: Some(AccessMode { mode: Mode::SingleNodeWriter.into() }),
        access_type: Some(access_type),
    }
}

/// A channel to a plugin's socket. It connects when used, and again after the plugin restarted.
#[must_use]
pub fn channel(socket: &Path) -> Channel {
    let socket = socket.to_path_buf();
    let connect = move |_uri: Uri| {
        let socket = socket.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
    };
    Endpoint::from_static("http://localhost").connect_with_connector_lazy(service_fn(connect))
}

/// Waits until the plugin behind a socket answers `Probe` with ready.
pub async fn ready(channel: &Channel, within: Duration) -> Result<Duration> {
    let started = Instant::now();
    loop {
        let mut identity = IdentityClient::new(channel.clone());
        let probe = identity.probe(csi::ProbeRequest {});
        let answer = tokio::time::timeout(Duration::from_secs(2), probe).await;
        if let Ok(Ok(answer)) = &answer
            && answer.get_ref().ready != Some(false)
        {
            return Ok(started.elapsed());
        }
        if started.elapsed() > within {
            bail!("the plugin is not ready after {within:?}: {answer:?}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Makes a call as the sidecars do: codes that say "may be in progress" or "come again" are asked
/// again until the answer is final or the time is up.
pub async fn converge<T, F>(
    what: String,
    within: Duration,
    mut call: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T, Status>>,
{
    let started = Instant::now();
    let mut pause = Duration::from_millis(100);
    loop {
        let answer = tokio::time::timeout(within, call()).await;
        let status = match answer {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(status)) => status,
            Err(elapsed) => Status::deadline_exceeded(elapsed.to_string()),
        };
        let again = matches!(
            status.code(),
            Code::Aborted | Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled
        ) || is_transport(&status);
        if !again || started.elapsed() > within {
            return Err(status).context(what);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// A plugin that died in the middle of a call shows as UNKNOWN or INTERNAL from the transport.
fn is_transport(status: &Status) -> bool {
    let text = status.message();
    matches!(status.code(), Code::Unknown | Code::Internal)
        && ["transport", "h2 protocol", "connection", "broken pipe"]
            .iter()
            .any(|word| text.to_ascii_lowercase().contains(word))
}
