//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::certificate::ClientInfo;
use crate::telemetry::LogFormat;
use crate::{supervisor, worker};

/// Kibibytes as a flag has them.
const KIB: u32 = 1024;

/// Data plane of EFS: relays NFS from the node's loopback to mount targets over TLS.
#[derive(Debug, Parser)]
#[command(name = "efs-tunnel", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve, under a supervisor that starts the worker again when it dies
    Serve(Box<ServeArgs>),
    /// What the supervisor starts
    #[command(hide = true)]
    Worker(Box<ServeArgs>),
    /// End with 0 if this container's tunnel is the node's and every port is bound, else with 1
    Health(SocketArgs),
    /// Print what every port does, as JSON
    List(SocketArgs),
}

/// Where the control socket is.
#[derive(Debug, Clone, ClapArgs)]
pub struct SocketArgs {
    /// Control socket
    #[arg(long, default_value = "/var/run/efs/tunnel.sock", value_name = "PATH")]
    pub control_socket: PathBuf,
}

/// The command line of `efs-tunnel serve`.
#[derive(Debug, Clone, ClapArgs)]
pub struct ServeArgs {
    /// Where it is controlled.
    #[command(flatten)]
    pub socket: SocketArgs,

    /// Folder of the state on disk
    #[arg(long, default_value = "/var/run/efs", value_name = "PATH")]
    pub state_dir: PathBuf,

    /// Folder of the kubelet; live mounts below it that efs-utils made are adopted
    #[arg(long, default_value = "/var/lib/kubelet", value_name = "PATH")]
    pub kubelet_dir: PathBuf,

    /// Folder of the node's RSA key, privateKey.pem
    #[arg(long, default_value = "/etc/amazon/efs", value_name = "PATH")]
    pub key_dir: PathBuf,

    /// First port of 127.0.0.1 for mounts
    #[arg(long, env = "PORT_RANGE_LOWER_BOUND", default_value_t = 20_049, value_name = "PORT")]
    pub port_range_lower_bound: u16,

    /// Port after the last for mounts
    #[arg(long, env = "PORT_RANGE_UPPER_BOUND", default_value_t = 21_049, value_name = "PORT")]
    pub port_range_upper_bound: u16,

    /// Connections of all mounts together; each takes up to 0.5 MiB when its target stalls
    #[arg(long, default_value_t = 512, value_name = "NUMBER")]
    pub max_connections: u16,

    /// Size of each socket buffer. More is faster over a long way and takes more memory
    #[arg(long, default_value_t = 64, value_name = "KIB",
        value_parser = clap::value_parser!(u32).range(16..=4096))]
    pub socket_buffer: u32,

    /// Seconds after which a mount target that acknowledges nothing, or has no room, counts as lost
    #[arg(long, default_value_t = 20, value_name = "SECONDS",
        value_parser = clap::value_parser!(u16).range(2..=600))]
    pub target_timeout: u16,

    /// The kernel's list of the NFS servers that it uses
    #[arg(long, default_value = "/proc/fs/nfsfs/servers", value_name = "PATH")]
    pub nfs_servers: PathBuf,

    /// Do not lock memory
    #[arg(long)]
    pub no_memory_lock: bool,

    /// What client certificates name as the kind of client
    #[arg(long, default_value_t = ClientInfo::default().source, value_name = "TEXT",
        value_parser = client_source)]
    pub client_source: String,

    /// Format of the log on stderr
    #[arg(long, default_value = "text", value_enum, value_name = "FORMAT")]
    pub logging_format: LogFormat,

    /// Verbosity of the log: 2 lifecycle, 4 debug, 6 trace, 7 libraries too
    #[arg(short = 'v', long = "v", default_value_t = 2, value_name = "LEVEL")]
    pub verbosity: u8,
}

impl ServeArgs {
    /// For the supervisor. `arguments` are those of this process, without its name.
    #[must_use]
    pub fn supervisor(&self, arguments: impl IntoIterator<Item = OsString>) -> supervisor::Config {
        let mut worker: Vec<OsString> = arguments.into_iter().collect();
        if let Some(command) = worker.iter_mut().find(|argument| *argument == "serve") {
            *command = "worker".into();
        }
        supervisor::Config { control_socket: self.socket.control_socket.clone(), worker }
    }

    /// For the worker.
    #[must_use]
    pub fn worker(self) -> worker::Config {
        worker::Config {
            control_socket: self.socket.control_socket,
            state_folder: self.state_dir,
            kubelet_folder: self.kubelet_dir,
            key_folder: self.key_dir,
            first_port: self.port_range_lower_bound,
            end_port: self.port_range_upper_bound,
            max_connections: usize::from(self.max_connections),
            socket_buffer: self.socket_buffer * KIB,
            silence: Duration::from_secs(u64::from(self.target_timeout)),
            nfs_servers: self.nfs_servers,
            lock_memory: !self.no_memory_lock,
            client: ClientInfo { source: self.client_source, ..ClientInfo::default() },
        }
    }
}

/// efs-utils' own bound of the field.
fn client_source(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.chars().count() > 100 {
        Err("want 1 to 100 characters")
    } else {
        Ok(text.to_owned())
    }
}
