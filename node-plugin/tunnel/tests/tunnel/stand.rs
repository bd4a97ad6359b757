//! A running `efs-tunnel` in a folder of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use efs_tunnel::control::{Client, Ensure, Health, PortStatus};
use efs_tunnel::identity::{Authority, Identity, Tls};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::target::NAME;

/// Ports of a test; below the range that the kernel gives to clients.
const PORTS: u16 = 256;
static NEXT: AtomicU16 = AtomicU16::new(22_000);

/// Environment variables.
type Settings = Vec<(String, String)>;

/// The program and its folder. Dropping it kills the program.
pub(crate) struct Stand {
    pub(crate) folder: TempDir,
    pub(crate) client: Client,
    first_port: u16,
    settings: Settings,
    supervisor: Child,
}

impl Stand {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    /// With settings of the AWS SDK.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let settings = settings.iter().map(own).collect();
        Self::start_of(tempfile::tempdir().unwrap(), settings).await
    }

    /// In a folder that holds something already.
    pub(crate) async fn start_in(folder: TempDir) -> Self {
        Self::start_of(folder, Vec::new()).await
    }

    async fn start_of(folder: TempDir, settings: Settings) -> Self {
        let first_port = NEXT.fetch_add(PORTS, Ordering::Relaxed);
        let supervisor = spawn(&folder, first_port, &settings);
        let client = Client::new(folder.path().join("run/tunnel.sock"));
        // The first start makes an RSA key, which takes a second and more on a busy machine.
        let client = client.with_patience(Duration::from_mins(1));
        let mut stand = Self { folder, client, first_port, settings, supervisor };
        stand.answers().await;
        stand
    }

    /// Kills the supervisor, and with it the worker.
    pub(crate) async fn kill(&mut self) {
        let worker = format!("/proc/{}", self.health().await.pid);
        self.supervisor.kill().unwrap();
        self.supervisor.wait().unwrap();
        until("the worker leaves", async || !std::path::Path::new(&worker).exists()).await;
    }

    pub(crate) fn start_again(&mut self) {
        self.supervisor = spawn(&self.folder, self.first_port, &self.settings);
    }

    /// Kills everything and starts it again.
    pub(crate) async fn restart(&mut self) {
        let worker = self.health().await.pid;
        self.kill().await;
        self.start_again();
        until("every port is bound by another worker", async || {
            self.client.health().await.is_ok_and(|health| health.ready && health.pid != worker)
        })
        .await;
    }

    /// Starts a successor, waits until it has taken over, and ends the first.
    pub(crate) async fn replace(&mut self) {
        let worker = self.health().await.pid;
        let mut earlier = std::mem::replace(
            &mut self.supervisor,
            spawn(&self.folder, self.first_port, &self.settings),
        );
        until("the successor answers", async || {
            self.client.health().await.is_ok_and(|health| health.ready && health.pid != worker)
        })
        .await;
        kill(Pid::from_raw(i32::try_from(earlier.id()).unwrap()), Signal::SIGTERM).unwrap();
        assert!(earlier.wait().unwrap().success());
    }

    pub(crate) fn nfs_servers(&self) -> PathBuf {
        self.folder.path().join("servers")
    }

    pub(crate) fn ca_file(&self, pem: &str) -> PathBuf {
        let path = self.folder.path().join("ca.pem");
        std::fs::write(&path, pem).unwrap();
        path
    }

    /// Waits for the first answer, as long as the program lives.
    async fn answers(&mut self) {
        let patience = Duration::from_millis(200);
        while self.client.clone().with_patience(patience).health().await.is_err() {
            let ended = self.supervisor.try_wait().unwrap();
            assert!(ended.is_none(), "efs-tunnel ended: {ended:?}");
        }
    }

    pub(crate) async fn health(&self) -> Health {
        self.client.health().await.unwrap()
    }

    pub(crate) async fn kill_worker(&self) -> u32 {
        let pid = self.health().await.pid;
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
        pid
    }

    /// The processes that the supervisor started and that live.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let id = self.supervisor.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        children.split_whitespace().map(|child| child.parse().unwrap()).collect()
    }

    /// Waits until a worker stands by: its id.
    pub(crate) async fn standby(&self) -> u32 {
        let serves = self.health().await.pid;
        until("a worker stands by", async || self.workers().len() == 2).await;
        self.workers().into_iter().find(|id| *id != serves).unwrap()
    }

    pub(crate) async fn serve(&self, identity: Identity) -> u16 {
        self.client.ensure(ensure(identity)).await.unwrap().port
    }

    pub(crate) async fn status(&self, port: u16) -> PortStatus {
        let ports = self.client.list().await.unwrap();
        ports.into_iter().find(|status| status.port == port).unwrap()
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "the program under test is started")]
fn spawn(folder: &TempDir, first_port: u16, settings: &Settings) -> Child {
    let path = |name: &str| folder.path().join(name);
    Command::new(env!("CARGO_BIN_EXE_efs-tunnel"))
        .env_clear()
        // Neither the files of whoever runs the tests nor the machine's own metadata service.
        .env("HOME", "/nonexistent")
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .arg("serve")
        .arg("--control-socket")
        .arg(path("run/tunnel.sock"))
        .arg("--state-dir")
        .arg(path("run"))
        .arg("--kubelet-dir")
        .arg(path("kubelet"))
        .arg("--key-dir")
        .arg(path("key"))
        .arg("--nfs-servers")
        .arg(path("servers"))
        .arg("--port-range-lower-bound")
        .arg(first_port.to_string())
        .arg("--port-range-upper-bound")
        .arg((first_port + PORTS).to_string())
        .arg("--target-timeout=60")
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

pub(crate) fn ensure(identity: Identity) -> Ensure {
    Ensure { identity, failover: Vec::new(), port: None }
}

/// An identity without TLS.
pub(crate) fn clear(target: SocketAddr) -> Identity {
    Identity {
        file_system: "fs-92107410".parse().unwrap(),
        access_point: None,
        region: "eu-central-1".parse().unwrap(),
        target: target.to_string().parse().unwrap(),
        tls: None,
    }
}

/// An identity with TLS, whose server is verified by the CA of `file`.
pub(crate) fn secure(target: SocketAddr, file: PathBuf) -> Identity {
    Identity {
        access_point: Some("fsap-0123456789abcdef0".parse().unwrap()),
        tls: Some(Tls {
            server_name: NAME.parse().unwrap(),
            check_name: true,
            authority: Authority::File { path: file },
            iam: None,
        }),
        ..clear(target)
    }
}

pub(crate) async fn connect(port: u16) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap()
}

/// Sends a text and waits for its echo.
pub(crate) async fn echo(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    stream.write_all(text.as_bytes()).await?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await?;
    assert_eq!(answer, text.as_bytes());
    Ok(())
}

/// The same, by a client that connects again after a reset, as the kernel does.
pub(crate) async fn echo_at_last(port: u16, text: &str, patience: Duration) {
    let trying = async {
        loop {
            let mut stream = connect(port).await;
            if echo(&mut stream, text).await.is_ok() {
                return;
            }
        }
    };
    timeout(patience, trying).await.expect("no echo in time");
}

/// Waits until nobody holds a listener of the port any more.
pub(crate) async fn until_closed(port: u16) {
    until("the port refuses", async || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    })
    .await;
}

/// Waits for a state, with a limit.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Resident memory of a process in KiB.
pub(crate) fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
