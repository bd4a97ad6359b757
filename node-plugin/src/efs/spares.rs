//! Copies of the tunnel's listening sockets. When the tunnel's whole pod dies, its ports go on
//! accepting connections here, and the next tunnel goes on with them: a port that refuses costs a pod
//! that writes three seconds and more, one that accepts only the time until the tunnel is there.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The copies by port.
#[derive(Debug, Default)]
pub struct Spares(Mutex<BTreeMap<u16, Arc<OwnedFd>>>);

impl Spares {
    pub(super) fn get(&self, port: u16) -> Option<Arc<OwnedFd>> {
        self.lock().get(&port).cloned()
    }

    pub(super) fn has(&self, port: u16) -> bool {
        self.lock().contains_key(&port)
    }

    pub(super) fn keep(&self, port: u16, listener: OwnedFd) {
        self.lock().insert(port, Arc::new(listener));
    }

    /// Closes a copy. Without this, clients of a port that was closed would wait for ever.
    pub(super) fn close(&self, port: u16) {
        self.lock().remove(&port);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u16, Arc<OwnedFd>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
