//! What a cluster is made of beside the guest, as the shell scripts build and cache it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use sanity_tests::chart::project;
use sanity_tests::stand::binary;

const PREPARE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/prepare.sh");

/// Programs and images.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Folder of `prepare.sh`.
    pub(crate) prepared: PathBuf,
    /// Folder of the programs built from Go modules.
    pub(crate) tools: PathBuf,
    /// helm.
    pub(crate) helm: PathBuf,
    /// The driver's image, as an archive.
    pub(crate) image: PathBuf,
}

impl Parts {
    /// Builds them or finds them in the cache. The image is made of the programs beside this one.
    pub(crate) fn prepare() -> Result<Self> {
        let prepared = PathBuf::from(output(Path::new(PREPARE), &[])?);
        let tools = std::fs::canonicalize(prepared.join("tools"))?;
        let helm = sanity_tests::chart::helm().context("no helm; run `make prepare`")?;
        let programs = binary("csi-controller")?;
        let programs = programs.parent().context("no folder")?;
        let out = programs.join("image");
        let image = out.join("aws-csi-driver.tar");
        if !is_newer(&image, programs)? {
            let folder = |folder: &Path| folder.display().to_string();
            let environment = [("PROGRAMS", &*folder(programs)), ("OUT", &*folder(&out))];
            output(&project().join("deploy/image/build.sh"), &environment)?;
        }
        Ok(Self { prepared, tools, helm, image })
    }
}

/// Whether the image was made after all that it is made of.
fn is_newer(image: &Path, programs: &Path) -> Result<bool> {
    let Ok(made) = image.metadata().and_then(|image| image.modified()) else { return Ok(false) };
    let project = project();
    let mut of: Vec<PathBuf> =
        ["csi-controller", "csi-node", "efs-tunnel"].map(|name| programs.join(name)).into();
    of.extend(
        ["Dockerfile", "deploy/image/build.sh", "deploy/image/collect.sh"]
            .map(|name| project.join(name)),
    );
    for file in of {
        if file.metadata()?.modified()? > made {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Runs a script to its end: the last line that it printed.
fn output(script: &Path, environment: &[(&str, &str)]) -> Result<String> {
    #[expect(clippy::disallowed_methods, reason = "a harness")]
    let mut command = Command::new(script);
    command.envs(environment.iter().copied()).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("cannot run {}", script.display()))?;
    ensure!(output.status.success(), "{} failed; its messages are above", script.display());
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().last().unwrap_or_default().to_owned())
}
