//! A controller that deletes directories, in the guest: it mounts NFS, which the host's kernel may
//! not know. As in its pod, a tunnel of its own runs beside it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::block_in_place;

use super::efs::{CAFILE, FILE_SYSTEM, TUNNEL_PROGRAM};
use super::program::{binary, tail, until};
use super::{REGION, Stand, sim_key};
use crate::calls::{self, Controller};

const PROGRAM: &str = "/usr/local/bin/csi-controller";
const NAME: &str = "deleting-controller";
const TUNNEL: &str = "deleting-tunnel";
const FOLDER: &str = "/run/efs-controller";
const SOCKET: &str = "/run/csi/deleting.sock";
const PATIENCE: Duration = Duration::from_secs(40);

/// The controller with its tunnel. They end with the guest.
#[derive(Debug)]
pub struct Deleting<'a> {
    stand: &'a Stand,
}

impl<'a> Deleting<'a> {
    /// Starts both on a stand whose EFS driver runs, and waits until they are ready.
    pub async fn start(stand: &'a Stand) -> Result<Self> {
        let this = Self { stand };
        block_in_place(|| {
            let guest = stand.guest();
            guest.copy_in(&binary("csi-controller")?, PROGRAM, 0o755)?;
            guest.run(&format!("mkdir -p -m 700 {FOLDER} /run/csi"))?;
            guest.forward_to_guest(&this.socket(), Path::new(SOCKET))?;
            anyhow::Ok(())
        })?;
        this.start_tunnel().await?;
        this.start_controller().await?;
        Ok(this)
    }

    fn socket(&self) -> PathBuf {
        self.stand.bed.run_dir().join("deleting.sock")
    }

    /// Calls to the controller.
    #[must_use]
    pub fn controller(&self) -> Controller {
        Controller(calls::channel(&self.socket()))
    }

    /// Starts the controller and waits until it is ready.
    pub async fn start_controller(&self) -> Result<()> {
        let endpoint = self.stand.endpoint.replace("127.0.0.1", csi_bed::HOST_ADDRESS);
        let command = format!(
            "env {keys} AWS_EFS_ENDPOINT={endpoint} AWS_ENDPOINT_URL_STS={endpoint} {PROGRAM} efs \
             --endpoint=unix://{SOCKET} --delete-access-point-root-dir --mount-ca-file={CAFILE} \
             --tunnel-socket={FOLDER}/tunnel.sock --v={verbosity}",
            keys = keys(),
            verbosity = self.stand.settings.verbosity,
        );
        block_in_place(|| self.stand.guest().start(NAME, &command))?;
        let ready = calls::ready(&self.controller().0, PATIENCE).await;
        ready.with_context(|| self.last_words())?;
        Ok(())
    }

    /// Kills the controller.
    pub fn kill_controller(&self) -> Result<()> {
        Ok(block_in_place(|| self.stand.guest().kill(NAME))?)
    }

    /// Starts the tunnel and waits until it is healthy.
    pub async fn start_tunnel(&self) -> Result<()> {
        let command = format!(
            "env {keys} {TUNNEL_PROGRAM} serve --control-socket={FOLDER}/tunnel.sock \
             --state-dir={FOLDER} --key-dir={FOLDER} --kubelet-dir=/nonexistent \
             --port-range-lower-bound=23000 --port-range-upper-bound=23100 --v={verbosity}",
            keys = keys(),
            verbosity = self.stand.settings.verbosity,
        );
        let guest = self.stand.guest();
        block_in_place(|| guest.start(TUNNEL, &command))?;
        let list = format!("{TUNNEL_PROGRAM} list --control-socket={FOLDER}/tunnel.sock");
        let answers = || block_in_place(|| guest.run(&list)).ok();
        until(PATIENCE, answers).await.with_context(|| self.last_words())?;
        Ok(())
    }

    /// Kills all of the tunnel.
    pub fn kill_tunnel(&self) -> Result<()> {
        let script = format!(
            "p=$(cat /run/bed/{TUNNEL}.pid); w=$(pgrep -P $p || true); kill -KILL $p $w || true; \
             while kill -0 $p 2>/dev/null; do sleep 0.01; done"
        );
        block_in_place(|| self.stand.guest().run(&script))?;
        Ok(())
    }

    /// Fails if a whole file system is mounted anywhere, or reached through the tunnel.
    pub async fn check_nothing_is_mounted(&self) -> Result<()> {
        let guest = self.stand.guest();
        let check = "grep -E ' nfs4? ' /proc/self/mountinfo; grep -E ' 59[d-f][0-9a-f] | 5a[0-4][0-9a-f] ' \
                     /proc/fs/nfsfs/servers; true";
        let look = || {
            let found = block_in_place(|| guest.run(check)).ok()?;
            found.trim().is_empty().then_some(())
        };
        let gone = until(PATIENCE, look).await;
        ensure!(gone.is_some(), "mounted: {}", block_in_place(|| guest.run(check))?);
        Ok(())
    }

    /// Where the file system's data lies, on the host.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.stand.bed.run_dir().join("efs").join(FILE_SYSTEM)
    }

    /// The ends of both logs.
    #[must_use]
    pub fn last_words(&self) -> String {
        let log = |name| block_in_place(|| self.stand.guest().log(name)).unwrap_or_default();
        format!("controller: {}\ntunnel: {}\n", tail(&log(NAME), 30), tail(&log(TUNNEL), 30))
    }
}

/// What an environment holds for both.
fn keys() -> String {
    let (key, secret) = sim_key();
    format!(
        "PATH=$PATH SSL_CERT_FILE={CAFILE} AWS_REGION={REGION} AWS_EC2_METADATA_DISABLED=true AWS_ACCESS_KEY_ID={key} \
         AWS_SECRET_ACCESS_KEY={secret}"
    )
}
