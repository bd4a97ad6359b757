//! The command line of `aws-sim`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Parser;
use csi_core::InstanceId;

use crate::seed::Seed;

/// A simulated AWS on loopback: EC2, EFS, STS, instance metadata.
///
/// When it listens, it prints one line of JSON: `{"endpoint": "http://…", "imds": {"i-…":
/// "http://…"}}`. It ends on SIGTERM or SIGINT and then leaves nothing behind.
#[derive(Debug, Clone, Parser)]
#[command(name = "aws-sim", version)]
pub struct Args {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// File to write the announced line to as well, whole at once.
    #[arg(long)]
    pub address_file: Option<PathBuf>,
    /// Unix socket to serve the same on, for whoever is in another network namespace.
    #[arg(long, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
    /// The region.
    #[arg(long, default_value = "us-east-1")]
    pub region: String,
    /// JSON file with zones, instances, credentials and settings. Without it: zones a, b, c (a
    /// with the newest hardware) and one well-known access key.
    #[arg(long)]
    pub seed: Option<PathBuf>,
    /// Let everything take effect and be seen at once; without it times and lag are EC2's.
    #[arg(long)]
    pub instant: bool,
    /// Number that makes ids and delays repeatable; by default it differs from run to run.
    #[arg(long)]
    pub random_seed: Option<u64>,
    /// Serve an instance's metadata at a port of its own; port 0 takes a free one. Repeatable.
    #[arg(long, value_name = "INSTANCE=PORT")]
    pub imds: Vec<Bound<u16>>,
    /// Let an instance's volumes appear as loop devices below this folder: `FOLDER/sys` and
    /// `FOLDER/dev` are for the node plugin's `--sysfs` and `--dev`. Repeatable; needs root.
    #[arg(long = "loop", value_name = "INSTANCE=FOLDER", requires = "disks")]
    pub loops: Vec<Bound<PathBuf>>,
    /// Let an instance's volumes appear as NVMe disks of the guest with this run folder.
    /// Repeatable.
    #[arg(long = "guest", value_name = "INSTANCE=RUN_FOLDER", requires = "disks")]
    pub guests: Vec<Bound<PathBuf>>,
    /// Folder for the bytes of volumes and snapshots. It and the folders of `--loop` must be new
    /// or empty, or left from an earlier run; they are removed at the end, however it comes.
    #[arg(long, value_name = "FOLDER")]
    pub disks: Option<PathBuf>,
    /// Folder for the data of file systems. With it, each mount target listens at its address: a
    /// TLS server with an NFS server behind; `FOLDER/ca.pem` is what clients trust. It must be new
    /// or empty, or left from an earlier run; it is removed at the end, however it comes.
    #[arg(long, value_name = "FOLDER")]
    pub efs: Option<PathBuf>,
    /// Port of the mount targets.
    #[arg(long, default_value_t = crate::targets::PORT, requires = "efs")]
    pub target_port: u16,
    /// Network interface to add mount targets' addresses to that this machine lacks. Meant for
    /// `lo` of a network namespace of its own; needs root.
    #[arg(long, value_name = "INTERFACE", requires = "efs")]
    pub target_interface: Option<String>,
    /// What is logged, as `RUST_LOG` has it, to standard error.
    #[arg(long, default_value = "info")]
    pub log: String,
}

/// Something for one instance, `i-…=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound<T> {
    /// The instance.
    pub instance: InstanceId,
    /// What it gets.
    pub value: T,
}

/// A text that is not `INSTANCE=VALUE`.
#[derive(Debug, Clone, thiserror::Error)]
#[error("want INSTANCE=VALUE, got {0:?}")]
pub struct NotBound(String);

impl<T: FromStr> FromStr for Bound<T> {
    type Err = NotBound;

    fn from_str(text: &str) -> Result<Self, NotBound> {
        let bound = || {
            let (instance, value) = text.split_once('=')?;
            Some(Self { instance: instance.parse().ok()?, value: value.parse().ok()? })
        };
        bound().ok_or_else(|| NotBound(text.to_owned()))
    }
}

/// A seed file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SeedFileError {
    /// It cannot be read.
    #[error("cannot read the seed file {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not a seed.
    #[error("the seed file {} is not a seed", file.display())]
    Parse {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads a seed file.
pub fn read_seed(file: &Path) -> Result<Seed, SeedFileError> {
    let text = std::fs::read(file)
        .map_err(|source| SeedFileError::Read { file: file.to_owned(), source })?;
    serde_json::from_slice(&text)
        .map_err(|source| SeedFileError::Parse { file: file.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_bound_to_its_port() {
        let args = ["aws-sim", "--imds", "i-0123456789abcdef0=0"];
        let args = Args::try_parse_from(args).unwrap();
        assert_eq!(args.imds.first().map(|bound| bound.value), Some(0));
        assert!(Args::try_parse_from(["aws-sim", "--imds", "i-x=0"]).is_err());
        assert!(Args::try_parse_from(["aws-sim", "--imds", "i-0123456789abcdef0=x"]).is_err());
    }
}
