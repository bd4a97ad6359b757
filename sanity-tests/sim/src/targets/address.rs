//! Addresses that the machine lacks, put on an interface for as long as this process lives.

use std::net::IpAddr;
use std::process::Child;

use super::TargetError;
use crate::devices::command::{run, start_script};

/// `$1` is the address, `$2` the interface.
const REMOVE: &str = r#"
trap '' INT TERM HUP
cat >/dev/null
ip address del "$1" dev "$2"
"#;

/// The addresses; each is removed at the end, even after `kill -9`, by a shell that waits for it.
#[derive(Debug)]
pub(super) struct Addresses {
    interface: String,
    guards: Vec<Child>,
}

impl Addresses {
    pub(super) fn on(interface: String) -> Self {
        Self { interface, guards: Vec::new() }
    }

    /// Adds one. It is reached from this network namespace only, as nothing routes to it.
    pub(super) fn add(&mut self, address: IpAddr) -> Result<(), TargetError> {
        let address = format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 });
        let guard = start_script(REMOVE, &[&address, &self.interface]);
        let guard = guard.map_err(TargetError::Address)?;
        self.guards.push(guard);
        run("ip", &["address", "add", &address, "dev", &self.interface])
            .map_err(TargetError::Address)?;
        Ok(())
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        for guard in &mut self.guards {
            drop(guard.stdin.take());
            if let Err(error) = guard.wait() {
                tracing::warn!(%error, "an address may be left");
            }
        }
    }
}
