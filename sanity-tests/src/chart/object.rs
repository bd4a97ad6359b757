//! One rendered object, and whether Kubernetes' types know every field of it.

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::storage::v1::{CSIDriver, StorageClass};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Container;

/// One rendered object.
#[derive(Debug, Clone, PartialEq)]
pub struct Object(Value);

impl Object {
    /// The objects of a text of YAML documents.
    ///
    /// # Errors
    /// A document that is no YAML, or that says no kind and name.
    pub fn read_all(text: &str) -> Result<Vec<Self>> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
        documents
            .into_iter()
            .filter(|document| !document.is_null())
            .map(|document| {
                let object = Self(document);
                if object.kind().is_empty() || object.name().is_empty() {
                    bail!("an object without kind or name: {}", object.0);
                }
                Ok(object)
            })
            .collect()
    }

    /// The object as read.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The value at a JSON pointer; null if there is none.
    #[must_use]
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.at("/kind").as_str().unwrap_or_default()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.at("/metadata/name").as_str().unwrap_or_default()
    }

    /// `Kind/name`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.kind(), self.name())
    }

    /// The containers of its pods, init containers left out.
    #[must_use]
    pub fn containers(&self) -> Vec<Container> {
        let list = self.at("/spec/template/spec/containers").as_array();
        list.into_iter().flatten().map(Container::new).collect()
    }

    /// That the object is one of Kubernetes', with no field that its type does not know and none
    /// that its type needs and it lacks.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self) -> Result<()> {
        let api = self.at("/apiVersion").as_str().unwrap_or_default();
        match (api, self.kind()) {
            ("apps/v1", "Deployment") => self.check_as::<Deployment>(),
            ("apps/v1", "DaemonSet") => self.check_as::<DaemonSet>(),
            ("v1", "Service") => self.check_as::<Service>(),
            ("v1", "ServiceAccount") => self.check_as::<ServiceAccount>(),
            ("v1", "ConfigMap") => self.check_as::<ConfigMap>(),
            ("networking.k8s.io/v1", "NetworkPolicy") => self.check_as::<NetworkPolicy>(),
            ("policy/v1", "PodDisruptionBudget") => self.check_as::<PodDisruptionBudget>(),
            ("rbac.authorization.k8s.io/v1", "ClusterRole") => self.check_as::<ClusterRole>(),
            ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => {
                self.check_as::<ClusterRoleBinding>()
            }
            ("rbac.authorization.k8s.io/v1", "Role") => self.check_as::<Role>(),
            ("rbac.authorization.k8s.io/v1", "RoleBinding") => self.check_as::<RoleBinding>(),
            ("storage.k8s.io/v1", "CSIDriver") => self.check_as::<CSIDriver>(),
            ("storage.k8s.io/v1", "StorageClass") => self.check_as::<StorageClass>(),
            // Kinds of others, whose types are not at hand.
            ("snapshot.storage.k8s.io/v1", "VolumeSnapshotClass")
            | ("monitoring.coreos.com/v1", "ServiceMonitor" | "PrometheusRule") => Ok(()),
            _ => bail!("{} has the unexpected API {api}", self.id()),
        }
    }

    fn check_as<T: DeserializeOwned + Serialize>(&self) -> Result<()> {
        let typed: T = serde_json::from_value(self.0.clone()).with_context(|| self.id())?;
        let known = serde_json::to_value(&typed)?;
        match unknown("", &self.0, &known) {
            Some(path) => bail!("{}: no such field: {path}", self.id()),
            None => Ok(()),
        }
    }
}

/// The first field of `given` that is not in `known`. A field that is null or empty says nothing,
/// and a type may leave it out.
fn unknown(path: &str, given: &Value, known: &Value) -> Option<String> {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => given.iter().find_map(|(key, value)| {
            let path = format!("{path}/{key}");
            match known.get(key) {
                Some(known) => unknown(&path, value, known),
                None if is_empty(value) => None,
                None => Some(path),
            }
        }),
        (Value::Array(given), Value::Array(known)) => {
            given.iter().zip(known).enumerate().find_map(|(index, (given, known))| {
                unknown(&format!("{path}/{index}"), given, known)
            })
        }
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(more: &str) -> Object {
        let text = format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: a{more}}}\n");
        Object::read_all(&text).unwrap().remove(0)
    }

    #[test]
    fn a_field_that_kubernetes_does_not_know_is_found() {
        account(", labels: {a: b}").check().unwrap();
        let error = account(", lables: {a: b}").check().unwrap_err().to_string();
        assert_eq!(error, "ServiceAccount/a: no such field: /metadata/lables");
    }

    #[test]
    fn a_field_of_another_type_is_found() {
        assert!(account(", labels: [a]").check().is_err());
    }
}
