//! The official conformance suite, run whole inside the guest, and its verdict read from its own
//! report.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use csi_bed::Guest;

/// The suite's version; `prepare.sh` builds the same.
pub const VERSION: &str = "v5.6.0";

/// Where the suite lies in the guest.
const PROGRAM: &str = "/usr/local/bin/csi-sanity";

/// What to run.
#[derive(Debug, Clone)]
pub struct Run {
    /// `mount` or `block`.
    pub access: &'static str,
    /// The node's socket in the guest.
    pub node: String,
    /// The controller's socket in the guest.
    pub controller: String,
    /// StorageClass parameters.
    pub parameters: Vec<(&'static str, &'static str)>,
    /// Attributes-class parameters.
    pub mutable: Vec<(&'static str, &'static str)>,
}

/// What the suite found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Tests that passed.
    pub passed: usize,
    /// Names of the tests that failed.
    pub failed: Vec<String>,
    /// Names of the tests that the suite skipped.
    pub skipped: Vec<String>,
    /// The suite's own last lines.
    pub summary: String,
    /// All that the suite printed.
    pub output: String,
}

impl Run {
    /// Runs the suite, which must have been copied in by [`install`].
    pub fn execute(&self, guest: &Guest) -> Result<Verdict> {
        let folder = format!("/tmp/csi-sanity-{}", self.access);
        let yaml = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(key, value)| format!("{key}: {value:?}"))
                .collect::<Vec<_>>()
                .join("\n")
        };
        guest.run(&format!("rm -rf {folder}; mkdir -p {folder}"))?;
        guest.write(&format!("{folder}/parameters.yaml"), yaml(&self.parameters).as_bytes())?;
        guest.write(&format!("{folder}/mutable.yaml"), yaml(&self.mutable).as_bytes())?;
        let command = format!(
            "{PROGRAM} --ginkgo.no-color --csi.endpoint=unix://{node} \
             --csi.controllerendpoint=unix://{controller} --csi.mountdir={folder}/mount \
             --csi.stagingdir={folder}/staging --csi.testvolumeaccesstype={access} \
             --csi.testvolumeparameters={folder}/parameters.yaml \
             --csi.testvolumemutableparameters={folder}/mutable.yaml \
             --csi.testnodevolumeattachlimit --csi.junitfile={folder}/report.xml 2>&1",
            node = self.node,
            controller = self.controller,
            access = self.access,
        );
        let output = guest.exec(&command, &[], Duration::from_mins(15))?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let report = guest
            .read(&format!("{folder}/report.xml"))
            .with_context(|| format!("csi-sanity wrote no report: {printed}"))?;
        verdict(&String::from_utf8_lossy(&report), printed)
    }
}

/// Copies the suite, which `prepare.sh` has built, into the guest.
pub fn install(guest: &Guest) -> Result<()> {
    let cache = crate::stand::cache().join("bin").join(format!("csi-sanity-{VERSION}"));
    ensure!(cache.exists(), "{} is missing: run `make prepare`", cache.display());
    Ok(guest.copy_in(&cache, PROGRAM, 0o755)?)
}

fn verdict(report: &str, output: String) -> Result<Verdict> {
    let mut verdict = Verdict {
        passed: 0,
        failed: Vec::new(),
        skipped: Vec::new(),
        summary: output
            .lines()
            .rev()
            .take(12)
            .filter(|line| line.contains("Specs") || line.contains(" Passed"))
            .collect::<Vec<_>>()
            .join("; "),
        output,
    };
    for case in report.split("<testcase ").skip(1) {
        let name = attribute(case, "name").context("a test case without a name")?;
        // Set-up nodes of the suite itself are listed among its cases.
        if !name.starts_with("[It]") {
            continue;
        }
        match attribute(case, "status").as_deref() {
            Some("passed") => verdict.passed += 1,
            Some("skipped" | "pending") => verdict.skipped.push(name),
            _ => verdict.failed.push(name),
        }
    }
    ensure!(verdict.passed > 0, "csi-sanity ran no test: {}", verdict.output);
    Ok(verdict)
}

fn attribute(element: &str, name: &str) -> Option<String> {
    let start = element.find(&format!("{name}=\""))? + name.len() + 2;
    let value = element.get(start..)?;
    Some(value.get(..value.find('"')?)?.replace("&#34;", "\"").replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_case_by_case() {
        let report = r#"<testcase name="[BeforeSuite]" status="passed" time="0"></testcase>
            <testcase name="[It] a works" status="passed" time="1"></testcase>
            <testcase name="[It] b &amp; c" status="skipped"><skipped message="no"/></testcase>
            <testcase name="[It] d" status="failed"><failure/></testcase>"#;
        let verdict = verdict(report, "Ran 2 of 3 Specs in 1 seconds".to_owned()).unwrap();
        assert_eq!(verdict.passed, 1);
        assert_eq!(verdict.skipped, ["[It] b & c"]);
        assert_eq!(verdict.failed, ["[It] d"]);
        assert!(verdict.summary.contains("Ran 2 of 3 Specs"));
    }

    #[test]
    fn a_report_without_a_passed_test_is_an_error() {
        assert!(verdict("<testsuites/>", String::new()).is_err());
    }
}
