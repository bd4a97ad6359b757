//! The Helm charts: what they render is what Kubernetes knows and what the programs take, and it
//! fits into a running release of the charts that they take over from.
#![expect(clippy::print_stdout, reason = "a skip belongs into the log of a run")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests, in which all three are allowed"
)]

mod alerts;
mod arguments;
mod documented;
mod ebs;
mod ebs_values;
mod efs;
mod examples;
mod generated;
mod iam;

use sanity_tests::chart::{Chart, Object, helm};

/// Whether helm is there. `make prepare` builds it; without it nothing can be rendered.
fn has_helm() -> bool {
    let is_there = helm().is_some();
    if !is_there {
        println!("SKIPPED: no helm; run `make prepare`");
    }
    is_there
}

/// The object of this kind and name.
fn find<'a>(objects: &'a [Object], kind: &str, name: &str) -> &'a Object {
    let found = objects.iter().find(|object| object.kind() == kind && object.name() == name);
    found.unwrap_or_else(|| panic!("no {kind}/{name} in {:?}", ids(objects)))
}

fn ids(objects: &[Object]) -> Vec<String> {
    objects.iter().map(Object::id).collect()
}

/// The objects, each one checked.
fn render(chart: &Chart, values: &str) -> Vec<Object> {
    let objects = chart.render(values).unwrap_or_else(|error| panic!("{values}\n{error:#}"));
    check(&objects, values);
    objects
}

/// That Kubernetes knows the objects and our programs their arguments.
fn check(objects: &[Object], values: &str) {
    for object in objects {
        object.check().unwrap_or_else(|error| panic!("{values}\n{error:#}"));
        for container in object.containers() {
            arguments::check(&container);
        }
    }
}

/// What helm says when it refuses.
fn refusal(chart: &Chart, values: &str) -> String {
    let refused = chart.render(values).map(|objects| ids(&objects));
    format!("{:#}", refused.expect_err(values))
}
