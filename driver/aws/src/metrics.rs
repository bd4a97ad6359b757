//! What is counted about AWS calls. Names and labels are those of the Go driver, so that existing
//! dashboards and alerts go on.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::action::{Action, Service};

/// The default buckets of Prometheus's Go client, in seconds, which the Go driver uses.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Labels of a metric, in order.
type Labels = Vec<(&'static str, String)>;

/// The labels that name an action. The Go driver for EFS has one more, which tells EFS from S3
/// Files.
fn labels(key: &'static str, action: Action) -> Labels {
    let mut labels = vec![(key, action.name().to_owned())];
    if action.service() == Service::Efs {
        labels.push(("service", "efs".to_owned()));
    }
    labels
}

/// Counters and latencies by action.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    durations: Family<Labels, Histogram, fn() -> Histogram>,
    errors: Family<Labels, Counter>,
    throttles: Family<Labels, Counter>,
}

impl Metrics {
    /// Registers the metrics. The histogram of every action exists from the start, so that a rate
    /// over it is 0, not absent.
    pub(crate) fn register(registry: &mut Registry, service: Service) -> Self {
        let prefix = match service {
            Service::Ec2 => "aws_ebs_csi_api_request",
            Service::Efs => "aws_efs_csi_api_request",
        };
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let metrics = Self {
            durations: Family::new_with_constructor(histogram),
            errors: Family::default(),
            throttles: Family::default(),
        };
        registry.register(
            format!("{prefix}_duration_seconds"),
            "Latency of AWS API calls that succeeded",
            metrics.durations.clone(),
        );
        registry.register(
            format!("{prefix}_errors"),
            "AWS API calls that failed, by AWS's error code",
            metrics.errors.clone(),
        );
        registry.register(
            format!("{prefix}_throttles"),
            "AWS API calls that were refused because of the account's request rate",
            metrics.throttles.clone(),
        );
        for action in service.actions() {
            drop(metrics.durations.get_or_create(&labels("request", action)));
        }
        metrics
    }

    pub(crate) fn succeeded(&self, action: Action, latency: Duration) {
        let request = labels("request", action);
        self.durations.get_or_create(&request).observe(latency.as_secs_f64());
    }

    pub(crate) fn failed(&self, action: Action, code: &str, throttled: bool) {
        let mut failure = labels("request", action);
        failure.push(("code", code.to_owned()));
        self.errors.get_or_create(&failure).inc();
        if throttled {
            self.throttles.get_or_create(&labels("operation_name", action)).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_those_of_the_go_driver() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry, Service::Ec2);
        metrics.succeeded(Action::AttachVolume, Duration::from_millis(20));
        metrics.failed(Action::CreateVolume, "RequestLimitExceeded", true);

        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"aws_ebs_csi_api_request_duration_seconds_bucket{le="0.025",request="AttachVolume"} 1"#,
            r#"aws_ebs_csi_api_request_duration_seconds_count{request="DeleteTags"} 0"#,
            r#"aws_ebs_csi_api_request_errors_total{request="CreateVolume",code="RequestLimitExceeded"} 1"#,
            r#"aws_ebs_csi_api_request_throttles_total{operation_name="CreateVolume"} 1"#,
        ] {
            assert!(text.lines().any(|got| got == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn the_metrics_of_efs_name_the_service() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry, Service::Efs);
        metrics.succeeded(Action::CreateAccessPoint, Duration::from_millis(20));
        metrics.failed(Action::DeleteAccessPoint, "ThrottlingException", true);

        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"aws_efs_csi_api_request_duration_seconds_count{request="CreateAccessPoint",service="efs"} 1"#,
            r#"aws_efs_csi_api_request_errors_total{request="DeleteAccessPoint",service="efs",code="ThrottlingException"} 1"#,
            r#"aws_efs_csi_api_request_throttles_total{operation_name="DeleteAccessPoint",service="efs"} 1"#,
        ] {
            assert!(text.lines().any(|got| got == line), "no {line} in\n{text}");
        }
        assert!(!text.contains("AttachVolume"), "{text}");
    }
}
