//! Registers the plugin with kubelet, without a sidecar: kubelet watches a folder for sockets, asks
//! each one who it is, and says whether it took the plugin in. Protocol: kubelet's plugin watcher,
//! "pluginregistration/v1".

mod authority;

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use csi_proto::registration::registration_server::{Registration, RegistrationServer};
use csi_proto::registration::{
    InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
};
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::{error, info, warn};

/// How often the socket's file is looked for: kubelet removes all of them when it starts.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait before offering the plugin again that kubelet refused, or a socket that could
/// not be made.
const AGAIN: Duration = Duration::from_secs(5);

/// What kubelet is told.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// The driver's name.
    pub name: &'static str,
    /// The CSI socket, as kubelet sees it.
    pub endpoint: String,
    /// Where kubelet looks for plugins.
    pub socket: PathBuf,
}

#[derive(Debug, Clone)]
struct Answers {
    plugin: Plugin,
    refused: Arc<Notify>,
}

#[tonic::async_trait]
impl Registration for Answers {
    async fn get_info(
        &self,
        _request: Request<InfoRequest>,
    ) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: "CSIPlugin".to_owned(),
            name: self.plugin.name.to_owned(),
            endpoint: self.plugin.endpoint.clone(),
            supported_versions: vec!["1.0.0".to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let status = request.into_inner();
        if status.plugin_registered {
            info!(name = self.plugin.name, "registered with kubelet");
        } else {
            error!(name = self.plugin.name, error = status.error, "kubelet refused the plugin");
            self.refused.notify_one();
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}

/// Offers the plugin until `shutdown`, again whenever the socket vanishes or kubelet refused, and
/// then removes the socket.
pub async fn offer(plugin: Plugin, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        let pause = match offer_once(&plugin, &shutdown).await {
            Ok(End::Vanished) => Duration::ZERO,
            Ok(End::Refused) => AGAIN,
            Err(error) => {
                let path = plugin.socket.display();
                warn!(%path, %error, "cannot offer the plugin to kubelet; trying again");
                AGAIN
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// Why an offer ended.
#[derive(Debug, Clone, Copy)]
enum End {
    Vanished,
    Refused,
}

async fn offer_once(plugin: &Plugin, shutdown: &CancellationToken) -> io::Result<End> {
    let listener = bind(&plugin.socket)?;
    let inode = fs::symlink_metadata(&plugin.socket)?.ino();
    info!(path = %plugin.socket.display(), "offering the plugin to kubelet");
    let answers = Answers { plugin: plugin.clone(), refused: Arc::default() };
    let refused = Arc::clone(&answers.refused);
    let stop = CancellationToken::new();
    let incoming =
        UnixListenerStream::new(listener).map(|client| client.map(authority::FromKubelet::new));
    let server = tonic::transport::Server::builder()
        .add_service(RegistrationServer::new(answers))
        .serve_with_incoming_shutdown(incoming, stop.cancelled());
    let watch = async {
        let end = tokio::select! {
            () = vanished(&plugin.socket, inode) => End::Vanished,
            () = refused.notified() => End::Refused,
            () = shutdown.cancelled() => End::Vanished,
        };
        stop.cancel();
        end
    };
    let (ended, end) = tokio::join!(server, watch);
    if is_inode(&plugin.socket, inode) {
        fs::remove_file(&plugin.socket)?;
    }
    ended.map_err(io::Error::other)?;
    Ok(end)
}

/// Only kubelet, which is root, has to connect.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::other("the path exists and is not a socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn vanished(path: &Path, inode: u64) {
    while is_inode(path, inode) {
        sleep(LOOK).await;
    }
}

fn is_inode(path: &Path, inode: u64) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.ino() == inode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use csi_proto::registration::registration_client::RegistrationClient;
    use csi_serve::{Endpoint, health};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn client(socket: &Path) -> RegistrationClient<tonic::transport::Channel> {
        let endpoint = Endpoint::Unix(socket.to_owned());
        for _ in 0..400 {
            if let Ok(channel) = health::connect(&endpoint).await {
                return RegistrationClient::new(channel);
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("nobody listens at {}", socket.display());
    }

    #[tokio::test]
    async fn kubelet_is_told_name_and_socket_and_again_after_it_removed_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("reg.sock");
        let endpoint = "/var/lib/kubelet/plugins/ebs.csi.aws.com/csi.sock".to_owned();
        let plugin =
            Plugin { name: "ebs.csi.aws.com", endpoint: endpoint.clone(), socket: socket.clone() };
        let shutdown = CancellationToken::new();
        let offer = tokio::spawn(offer(plugin, shutdown.clone()));

        for _ in 0..2 {
            let mut client = client(&socket).await;
            let info = client.get_info(InfoRequest {}).await.unwrap().into_inner();
            assert_eq!((&*info.r#type, &*info.name), ("CSIPlugin", "ebs.csi.aws.com"));
            assert_eq!(
                (info.endpoint, info.supported_versions),
                (endpoint.clone(), vec!["1.0.0".to_owned()])
            );
            let status = RegistrationStatus { plugin_registered: true, error: String::new() };
            client.notify_registration_status(status).await.unwrap();
            fs::remove_file(&socket).unwrap();
        }
        client(&socket).await;
        shutdown.cancel();
        offer.await.unwrap();
        assert!(!socket.exists());
    }

    /// What kubelet's gRPC sends of a call without a message: preface, settings, the path of the
    /// socket as `:authority`.
    fn call_of_kubelet() -> Vec<u8> {
        let mut block = vec![0x83, 0x86]; // POST, http
        let texts: [(&[u8], &str); 4] = [
            (&[0x41], "%2Fvar%2Flib%2Fkubelet%2Fplugins_registry%2Febs.csi.aws.com-reg.sock"),
            (&[0x44], "/pluginregistration.Registration/GetInfo"),
            (&[0x5f], "application/grpc"),
            (b"\x40\x02te", "trailers"),
        ];
        for (name, value) in texts {
            block.extend(name);
            block.push(u8::try_from(value.len()).unwrap());
            block.extend(value.as_bytes());
        }
        let mut call = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        call.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
        call.extend([0, 0, u8::try_from(block.len()).unwrap(), 1, 4, 0, 0, 0, 1]);
        call.extend(block);
        call.extend([0, 0, 5, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
        call
    }

    #[tokio::test]
    async fn kubelet_is_answered_although_it_names_the_sockets_path_as_authority() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("reg.sock");
        let endpoint = "/csi.sock".to_owned();
        let plugin = Plugin { name: "ebs.csi.aws.com", endpoint, socket: socket.clone() };
        let shutdown = CancellationToken::new();
        let offer = tokio::spawn(offer(plugin, shutdown.clone()));
        client(&socket).await;

        let mut kubelet = tokio::net::UnixStream::connect(&socket).await.unwrap();
        // In two parts, as a stream may bring it.
        let call = call_of_kubelet();
        let (first, second) = call.split_at(60);
        kubelet.write_all(first).await.unwrap();
        sleep(Duration::from_millis(50)).await;
        kubelet.write_all(second).await.unwrap();
        let mut answer = Vec::new();
        let named = async {
            while !answer.windows(15).any(|part| part == b"ebs.csi.aws.com") {
                assert_ne!(kubelet.read_buf(&mut answer).await.unwrap(), 0, "{answer:?}");
            }
        };
        tokio::time::timeout(Duration::from_secs(10), named).await.expect("an answer");
        // It does not answer what the server sends at its end.
        drop(kubelet);
        shutdown.cancel();
        offer.await.unwrap();
    }
}
