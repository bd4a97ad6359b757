//! The EFS controller, over any EFS. A volume is an access point: a directory with an identity.

mod create;
mod delete;
mod ledger;
mod objects;
mod reach;
mod removal;
mod roots;
mod service;
mod spec;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use csi_core::efs::{Efs, Role, Secrets, Tags};
use csi_core::{AccessPointId, FileSystemId, Operations, VolumeName};

pub use reach::{CROSS_ACCOUNT, MOUNT_TARGET_IP, MOUNT_TARGET_IP_MAP};
pub use removal::{TRASH, ThroughTunnel, Way, Where, Whole, WholeError, Wholes};
pub use service::CAPABILITIES;

use ledger::Ledger;
use objects::Objects;
use removal::Remover;
use roots::Roots;

/// What the operator of the driver decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Tags on every access point.
    pub tags: Tags,
    /// The way to the cluster in which ids of file systems stand; without one, the pod's own.
    pub kubeconfig: Option<PathBuf>,
}

/// The Controller service of the EFS driver. Clones share their state.
#[derive(Debug)]
pub struct EfsController<C, W = ThroughTunnel> {
    shared: Arc<Shared<C>>,
    /// Deletes volumes' directories, if that is asked for.
    remover: Option<Arc<Remover<W>>>,
}

impl<C, W> Clone for EfsController<C, W> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), remover: self.remover.clone() }
    }
}

/// What all operations share.
#[derive(Debug)]
struct Shared<C> {
    efs: C,
    settings: Settings,
    objects: Objects,
    operations: Operations<Key>,
    /// EFS as the roles that were asked for see it. A client keeps its credentials.
    roles: Mutex<HashMap<Role, C>>,
    /// What is known of each file system's access points.
    ledgers: Mutex<HashMap<FileSystemId, Arc<Ledger>>>,
    /// Root directories that are being made or deleted.
    roots: Roots,
    /// Whether the role may set no tags but those that the replaced driver sets.
    bare_tags: AtomicBool,
}

/// What an operation claims.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// The making of a volume.
    VolumeName(VolumeName),
    /// The end of an access point.
    Delete(AccessPointId),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VolumeName(name) => write!(f, "volume {name}"),
            Self::Delete(access_point) => write!(f, "access point {access_point}"),
        }
    }
}

impl<C: Efs> EfsController<C> {
    /// A controller that leaves volumes' directories where they are. Nothing is asked yet.
    #[must_use]
    pub fn new(efs: C, settings: Settings) -> Self {
        Self {
            shared: Arc::new(Shared {
                efs,
                objects: Objects::new(settings.kubeconfig.clone()),
                settings,
                operations: Operations::default(),
                roles: Mutex::default(),
                ledgers: Mutex::default(),
                roots: Roots::default(),
                bare_tags: AtomicBool::new(false),
            }),
            remover: None,
        }
    }
}

impl<C: Efs, W: Wholes> EfsController<C, W> {
    /// The same, which deletes a volume's directory with it.
    #[must_use]
    pub fn deleting_directories<V: Wholes>(self, wholes: V) -> EfsController<C, V> {
        EfsController { shared: self.shared, remover: Some(Arc::new(Remover::new(wholes))) }
    }

    /// Waits until no operation is under way. Call it after the server has stopped taking calls.
    pub async fn drain(&self) {
        if let Some(remover) = &self.remover {
            remover.stop();
        }
        self.shared.operations.drain().await;
    }

    /// How many operations are under way.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.shared.operations.len()
    }
}

impl<C: Efs> Shared<C> {
    /// EFS with the credentials that a request asks for.
    fn efs(&self, secrets: &Secrets) -> C {
        let Some(role) = &secrets.role else { return self.efs.clone() };
        let mut roles = self.roles.lock().unwrap_or_else(PoisonError::into_inner);
        roles.entry(role.clone()).or_insert_with(|| self.efs.as_role(role)).clone()
    }

    fn ledger(&self, file_system: &FileSystemId) -> Arc<Ledger> {
        let mut ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Ledger::new(file_system.clone()));
        Arc::clone(ledgers.entry(file_system.clone()).or_insert_with(new))
    }
}
