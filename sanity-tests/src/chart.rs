//! A Helm chart of this project, rendered by helm itself without a cluster, as objects to look at.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

mod container;
mod object;

pub use self::container::Container;
pub use self::object::Object;

/// helm's version; `prepare.sh` builds the same.
pub const HELM: &str = "v3.19.0";

/// What a cluster with the snapshot controller, VolumeAttributesClass and the Prometheus operator
/// serves beyond what helm takes for granted.
pub const FULL_CLUSTER: [&str; 3] = [
    "snapshot.storage.k8s.io/v1",
    "storage.k8s.io/v1/VolumeAttributesClass",
    "monitoring.coreos.com/v1/ServiceMonitor",
];

/// A chart, and how it is rendered.
#[derive(Debug, Clone)]
pub struct Chart {
    name: &'static str,
    folder: PathBuf,
    /// The release's name.
    pub release: &'static str,
    /// APIs that the cluster serves.
    pub apis: Vec<&'static str>,
}

/// Folder of the project.
#[must_use]
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// helm, if `make prepare` has built it.
#[must_use]
pub fn helm() -> Option<PathBuf> {
    let cache = crate::stand::cache();
    Some(cache.join(format!("bin/helm-{HELM}"))).filter(|helm| helm.exists())
}

impl Chart {
    /// A chart under `deploy/charts`, for a cluster that serves everything.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        let folder = project().join("deploy/charts").join(name);
        Self { name, folder, release: name, apis: FULL_CLUSTER.to_vec() }
    }

    /// Where the chart is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The objects with `values` (YAML) over the chart's defaults.
    ///
    /// # Errors
    /// What helm says, if it refuses.
    pub fn render(&self, values: &str) -> Result<Vec<Object>> {
        let text = self.helm(&self.folder, values, &[])?;
        Object::read_all(&text)
    }

    /// The objects with `values` and none of the chart's defaults: what `helm upgrade
    /// --reuse-values` makes of a release of another chart.
    ///
    /// # Errors
    /// What helm says, if it refuses.
    pub fn render_reused(&self, values: &str) -> Result<Vec<Object>> {
        let copy = self.copy()?;
        std::fs::write(copy.path().join("values.yaml"), values)?;
        Object::read_all(&self.helm(copy.path(), "{}", &[])?)
    }

    /// The notes after an installation; with the chart's defaults, or without.
    ///
    /// # Errors
    /// What helm says, if it refuses.
    pub fn notes(&self, values: &str, reused: bool) -> Result<String> {
        let copy = self.copy()?;
        if reused {
            std::fs::write(copy.path().join("values.yaml"), values)?;
        }
        // Without a cluster helm prints no notes, so an object carries them.
        let carrier = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: notes}}\ndata:\n  notes: \
             {{{{ include \"{}/templates/NOTES.txt\" . | toJson }}}}\n",
            self.name
        );
        std::fs::write(copy.path().join("templates/carrier.yaml"), carrier)?;
        let values = if reused { "{}" } else { values };
        let only = ["--show-only", "templates/carrier.yaml"];
        let objects = Object::read_all(&self.helm(copy.path(), values, &only)?)?;
        let object = objects.first().context("no notes")?;
        Ok(object.at("/data/notes").as_str().unwrap_or_default().to_owned())
    }

    /// The text with `values`, byte for byte as helm prints it.
    ///
    /// # Errors
    /// What helm says, if it refuses.
    pub fn text(&self, values: &str) -> Result<String> {
        self.helm(&self.folder, values, &[])
    }

    fn copy(&self) -> Result<TempDir> {
        let copy = TempDir::new()?;
        copy_folder(&self.folder, copy.path())?;
        Ok(copy)
    }

    fn helm(&self, folder: &Path, values: &str, more: &[&str]) -> Result<String> {
        let helm = helm().context("no helm; run `make prepare`")?;
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), values)?;
        #[expect(clippy::disallowed_methods, reason = "a harness")]
        let mut command = Command::new(helm);
        command.args(["template", self.release, "--namespace", "kube-system", "--values"]);
        command.arg(file.path()).arg(folder).args(more).stdin(Stdio::null());
        for api in &self.apis {
            command.args(["--api-versions", api]);
        }
        let output = command.output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Every key of a YAML text, as `a.b.c`; lists and the maps named in `whole` are leaves.
///
/// # Errors
/// If the text is no YAML map.
pub fn keys(yaml: &str, whole: &[&str]) -> Result<Vec<String>> {
    let value: Value = serde_saphyr::from_str(yaml)?;
    ensure!(value.is_object(), "not a map");
    let mut found = Vec::new();
    collect("", &value, whole, &mut found);
    Ok(found)
}

fn collect(path: &str, value: &Value, whole: &[&str], found: &mut Vec<String>) {
    let Value::Object(map) = value else { return found.push(path.to_owned()) };
    let is_leaf = path.rsplit('.').next().is_some_and(|key| whole.contains(&key));
    if map.is_empty() || is_leaf {
        return found.push(path.to_owned());
    }
    for (key, value) in map {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        collect(&path, value, whole, found);
    }
}
