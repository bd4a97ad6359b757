//! A tunnel in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};

use efs_tunnel::Identity;
use efs_tunnel::control::{ClientError, Ensure, Ensured, PortStatus, Refusal, RefusalKind};
use efs_tunnel::identity::Tls;

use crate::efs::ports::Tunnel;

/// What it serves, and what it does wrong.
#[derive(Debug, Default)]
pub(crate) struct Served {
    pub(crate) ports: BTreeMap<u16, Identity>,
    /// Ports whose listener is not its own.
    pub(crate) unbound: BTreeSet<u16>,
    /// Ports that it says are in use.
    pub(crate) in_use: Vec<u16>,
    /// Ports that it has at most; 0 is any number.
    pub(crate) most: usize,
    /// Why targets are not reached.
    pub(crate) trouble: Option<String>,
    /// Whether nobody answers.
    pub(crate) gone: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct FakeTunnel(Arc<Mutex<Served>>);

impl FakeTunnel {
    pub(crate) fn state(&self) -> MutexGuard<'_, Served> {
        self.0.lock().unwrap()
    }

    pub(crate) fn ports(&self) -> Vec<u16> {
        self.state().ports.keys().copied().collect()
    }

    fn there(&self) -> Result<MutexGuard<'_, Served>, ClientError> {
        let state = self.state();
        if state.gone {
            let source = std::io::ErrorKind::ConnectionRefused.into();
            return Err(ClientError::Unreachable { socket: "/t".into(), source });
        }
        Ok(state)
    }
}

fn refused<T>(kind: RefusalKind) -> Result<T, ClientError> {
    Err(ClientError::Refused(Refusal { kind, message: format!("{kind:?}") }))
}

impl Tunnel for FakeTunnel {
    async fn ensure(
        &self,
        ensure: Ensure,
        listener: Option<BorrowedFd<'_>>,
    ) -> Result<Ensured, ClientError> {
        let mut state = self.there()?;
        let found = state.ports.iter().find(|(_, identity)| **identity == ensure.identity);
        if let Some((&port, _)) = found {
            if listener.is_some() {
                state.unbound.remove(&port);
            }
            return Ok(Ensured { port, opened: false });
        }
        if state.most > 0 && state.ports.len() >= state.most {
            return refused(RefusalKind::Exhausted);
        }
        let free = (20_049..=u16::MAX).find(|port| !state.ports.contains_key(port)).unwrap();
        let port = ensure.port.unwrap_or(free);
        let earlier = state.ports.insert(port, ensure.identity);
        drop(state);
        if earlier.is_some() {
            return refused(RefusalKind::Taken);
        }
        Ok(Ensured { port, opened: true })
    }

    async fn lend(&self, port: u16) -> Result<OwnedFd, ClientError> {
        let state = self.there()?;
        let is_bound = state.ports.contains_key(&port) && !state.unbound.contains(&port);
        drop(state);
        if !is_bound {
            return refused(RefusalKind::Invalid);
        }
        Ok(OwnedFd::from(File::open("/dev/null").unwrap()))
    }

    async fn gone(&self) {
        std::future::pending::<()>().await;
    }

    async fn release(&self, port: u16) -> Result<bool, ClientError> {
        let mut state = self.there()?;
        if state.in_use.contains(&port) {
            return refused(RefusalKind::InUse);
        }
        Ok(state.ports.remove(&port).is_some())
    }

    async fn list(&self) -> Result<Vec<PortStatus>, ClientError> {
        let state = self.there()?;
        // As on the wire, where every field that is not sent has a default.
        let status = |(port, identity): (&u16, &Identity)| {
            let status = serde_json::json!({
                "port": port,
                "identity": identity,
                "state": if state.unbound.contains(port) { "unbound" } else { "idle" },
                "connections": 0,
                "last_error": state.trouble,
            });
            serde_json::from_value::<PortStatus>(status).unwrap()
        };
        Ok(state.ports.iter().map(status).collect())
    }
}

/// A request for a whole file system.
pub(crate) fn ensure(file_system: &str) -> Ensure {
    let name = format!("{file_system}.efs.us-east-1.amazonaws.com");
    let identity = Identity {
        file_system: file_system.parse().unwrap(),
        access_point: None,
        region: "us-east-1".parse().unwrap(),
        target: name.parse().unwrap(),
        tls: Some(Tls {
            server_name: name.parse().unwrap(),
            check_name: true,
            authority: efs_tunnel::identity::Authority::default(),
            iam: None,
        }),
    };
    Ensure { identity, failover: Vec::new(), port: Some(20_049) }
}
