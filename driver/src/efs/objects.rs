//! Ids of file systems that stand in a `ConfigMap` or a Secret, read anew for each volume.

use std::fmt;
use std::path::PathBuf;

use csi_core::efs::ObjectKey;
use csi_core::parameters::efs::FileSystemRef;
use csi_core::rpc_error::open;
use csi_core::{FileSystemId, GrpcCode, Invalid};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::config::{Config, InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client};
use tokio::sync::OnceCell;
use tokio::time::{Duration, timeout};
use tonic::Code;

/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// An id is short; whatever else is in the object is not shown.
const LONGEST: usize = 64;

/// The way to the objects of the cluster. A client is made at first use.
#[derive(Default)]
pub(super) struct Objects {
    kubeconfig: Option<PathBuf>,
    client: OnceCell<Client>,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("kubeconfig", &self.kubeconfig).finish_non_exhaustive()
    }
}

/// Why an object does not tell the id.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObjectError {
    /// What it says, or that it does not exist.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is no way to the API server.
    #[error("{field}: no access to the API server")]
    NoAccess {
        /// The parameter.
        field: &'static str,
        /// What is missing.
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The service account may not read it.
    #[error(
        "{field}: the controller's service account may not read {object}; in the chart, \
         controller.fileSystemIdRefs.enabled allows it"
    )]
    Denied {
        /// The parameter.
        field: &'static str,
        /// The object.
        object: String,
    },
    /// The API server does not answer as it should.
    #[error("{field}: cannot read {object}")]
    Failed {
        /// The parameter.
        field: &'static str,
        /// The object.
        object: String,
        /// Its answer.
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl GrpcCode for ObjectError {
    fn code(&self) -> Code {
        match self {
            Self::Invalid(_) => Code::InvalidArgument,
            Self::Denied { .. } => open(Code::PermissionDenied),
            Self::NoAccess { .. } | Self::Failed { .. } => Code::Unavailable,
        }
    }
}

/// One reference.
struct Wanted<'a> {
    field: &'static str,
    kind: &'static str,
    key: &'a ObjectKey,
}

impl Wanted<'_> {
    fn object(&self) -> String {
        format!("{} {}/{}", self.kind, self.key.namespace, self.key.name)
    }

    fn failed(&self, error: kube::Error) -> ObjectError {
        let (field, object) = (self.field, self.object());
        match &error {
            kube::Error::Api(status) if status.code == 404 => {
                Invalid::new(field, format!("there is no {object}")).into()
            }
            kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
                ObjectError::Denied { field, object }
            }
            _ => ObjectError::Failed { field, object, error: Box::new(error) },
        }
    }

    /// The id in a value. A Secret's is never shown.
    fn id(&self, value: Option<&str>) -> Result<FileSystemId, ObjectError> {
        let key = &self.key.key;
        let invalid = |rule: String| Invalid::new(self.field, rule);
        let value = value.map(str::trim).filter(|value| !value.is_empty());
        let Some(value) = value.filter(|value| value.len() <= LONGEST) else {
            return Err(invalid(format!("{} has no id in key {key}", self.object())).into());
        };
        let id: Result<FileSystemId, _> = value.parse();
        id.map_err(|error| {
            let object = self.object();
            invalid(format!("what {object} has in key {key} is no id: {}", error.rule)).into()
        })
    }
}

impl Objects {
    /// Objects of the cluster that `kubeconfig` leads to; without one, of the pod's own.
    pub(super) fn new(kubeconfig: Option<PathBuf>) -> Self {
        Self { kubeconfig, client: OnceCell::new() }
    }

    /// The file system that a class names.
    pub(super) async fn file_system(
        &self,
        reference: &FileSystemRef,
    ) -> Result<FileSystemId, ObjectError> {
        match reference {
            FileSystemRef::Id(id) => Ok(id.clone()),
            FileSystemRef::ConfigMap(key) => {
                let wanted = Wanted { field: "fileSystemIdConfigRef", kind: "ConfigMap", key };
                let found: ConfigMap = self.get(&wanted).await?;
                wanted.id(found
                    .data
                    .as_ref()
                    .and_then(|data| data.get(&key.key))
                    .map(String::as_str))
            }
            FileSystemRef::Secret(key) => {
                let wanted = Wanted { field: "fileSystemIdSecretRef", kind: "Secret", key };
                let found: Secret = self.get(&wanted).await?;
                let value = found.data.as_ref().and_then(|data| data.get(&key.key));
                wanted.id(value.and_then(|value| std::str::from_utf8(&value.0).ok()))
            }
        }
    }

    async fn get<K>(&self, wanted: &Wanted<'_>) -> Result<K, ObjectError>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + fmt::Debug
            + serde::de::DeserializeOwned,
        K::DynamicType: Default,
    {
        let field = wanted.field;
        let client = self.client.get_or_try_init(|| Box::pin(client(self.kubeconfig.clone())));
        let client = client.await.map_err(|error| ObjectError::NoAccess { field, error })?;
        let api: Api<K> = Api::namespaced(client.clone(), &wanted.key.namespace);
        let got = timeout(PATIENCE, api.get(&wanted.key.name)).await;
        let late = |elapsed| ObjectError::Failed {
            field,
            object: wanted.object(),
            error: Box::new(elapsed),
        };
        got.map_err(late)?.map_err(|error| wanted.failed(error))
    }
}

async fn client(
    kubeconfig: Option<PathBuf>,
) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let config = match kubeconfig {
        None => Config::incluster().map_err(|error: InClusterError| Box::new(error))?,
        Some(path) => {
            let read = Kubeconfig::read_from(path);
            let read = read.map_err(|error: KubeconfigError| Box::new(error))?;
            Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?
        }
    };
    Ok(Client::try_from(config)?)
}
