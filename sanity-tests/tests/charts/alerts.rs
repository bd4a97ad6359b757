//! Alerts and dashboard ask for metrics that the programs have.

use std::collections::BTreeSet;

use sanity_tests::chart::{Chart, project};

use crate::has_helm;

/// Words of the text that begin so, without the endings that the exposition format adds.
fn metrics(text: &str, prefix: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words
        .filter(|word| word.starts_with(prefix))
        .map(|word| {
            let endings = ["_total", "_count", "_bucket", "_sum"];
            let end = endings.iter().find_map(|ending| word.strip_suffix(ending));
            end.unwrap_or(word).to_owned()
        })
        .collect()
}

#[test]
fn every_metric_of_an_alert_and_of_the_dashboard_is_one_that_the_controller_has() {
    if !has_helm() {
        return;
    }
    let sources = ["driver/aws/src/metrics.rs", "driver/serve/src/metrics.rs"];
    let sources = sources.map(|path| std::fs::read_to_string(project().join(path)).unwrap());
    let mut known = metrics(&sources[0], "aws_ebs_csi_");
    assert!(sources[1].contains("{prefix}_rpc_duration_seconds"));
    known.insert("aws_ebs_csi_rpc_duration_seconds".to_owned());
    let values = "{prometheusRule: {enabled: true}, grafanaDashboard: {enabled: true}}";
    let text = Chart::new("aws-ebs-csi-driver").text(values).unwrap();
    let asked = metrics(&text, "aws_ebs_csi_");
    assert!(asked.len() >= 4, "{asked:?}");
    assert!(asked.is_subset(&known), "{asked:?} of {known:?}");
}
