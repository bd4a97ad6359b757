//! One NFS server: nfs-ganesha with one export. It dies with this process, however that ends:
//! `setpriv --pdeathsig` has the kernel kill it. The signal comes when the *thread* that started
//! it ends (`prctl(2)`), so servers are started on tokio's own threads, never on blocking ones.
#![expect(clippy::disallowed_methods, reason = "this is no product code: it simulates EFS")]

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;

use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{Duration, Instant, sleep};

use super::TargetError;
use super::export::{Export, Squash};

const PROGRAM: &str = "ganesha.nfsd";
/// Where Debian keeps its back ends; with a wrong folder it starts all the same, read-only.
const PLUGINS: &str = "/usr/lib/x86_64-linux-gnu/ganesha";
/// A start takes a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(20);
/// Another process may take the port between its choice and the start.
const TRIES: u32 = 3;

/// A running server; dropping it kills it.
#[derive(Debug)]
pub(super) struct Ganesha {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Ganesha {
    /// Starts a server for an export, with a folder for its own files, and waits until it answers.
    pub(super) async fn start(export: &Export, folder: &Path) -> Result<Self, TargetError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::try_start(export, folder).await {
                Ok(server) => return Ok(server),
                Err(error) if tries == TRIES => {
                    return Err(TargetError::Server { path: export.path.clone(), source: error });
                }
                Err(_port_taken) => {}
            }
        }
    }

    async fn try_start(export: &Export, folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder.join("recovery"))?;
        let address = free_address().await?;
        let config = folder.join("ganesha.conf");
        fs::write(&config, configuration(export, address, folder))?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", PROGRAM, "-F", "-f"])
            .arg(&config)
            .arg("-L")
            .arg(folder.join("log"))
            .arg("-p")
            .arg(folder.join("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut server = Self { child, address };
        server.until_ready(folder).await?;
        Ok(server)
    }

    async fn until_ready(&mut self, folder: &Path) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
                let last = log.lines().last().unwrap_or_default();
                return Err(io::Error::other(format!("{PROGRAM} ended with {status}: {last}")));
            }
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer"));
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Whether it still runs.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it and waits for its end.
    pub(super) async fn stop(mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::debug!(%error, "an NFS server is gone already");
        }
    }
}

/// Whether the NFS server is installed.
#[must_use]
pub fn has_nfs_server() -> bool {
    let folders = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];
    folders.iter().any(|folder| Path::new(folder).join(PROGRAM).exists())
}

/// An address that was free a moment ago.
async fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()
}

fn configuration(export: &Export, address: SocketAddr, folder: &Path) -> String {
    let squash = match export.squash {
        Squash::Everybody { uid, gid } => {
            format!("Squash = All_Squash; Anonymous_uid = {uid}; Anonymous_gid = {gid};")
        }
        Squash::Root => {
            "Squash = Root_Squash; Anonymous_uid = 65534; Anonymous_gid = 65534;".into()
        }
        Squash::Nobody => "Squash = No_Root_Squash;".to_owned(),
    };
    let access = if export.write { "RW" } else { "RO" };
    format!(
        r#"NFS_CORE_PARAM {{
    NFS_Protocols = 4; NFS_Port = {port}; Bind_addr = {ip};
    Enable_NLM = false; Enable_RQUOTA = false; Plugins_Dir = {PLUGINS};
}}
NFSV4 {{
    Minor_Versions = 1,2; Graceless = true; Only_Numeric_Owners = true;
    RecoveryBackend = fs; RecoveryRoot = "{folder}/recovery";
}}
EXPORT {{
    Export_Id = 1; Path = "{path}"; Pseudo = /; Access_Type = {access}; {squash}
    SecType = sys; Protocols = 4; Transports = TCP; FSAL {{ Name = VFS; }}
}}
LOG {{ Default_Log_Level = WARN; }}
"#,
        port = address.port(),
        ip = address.ip(),
        folder = folder.display(),
        path = export.path.display(),
    )
}
