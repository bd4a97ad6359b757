//! How many volumes the node can take. The numbers are data, in `volume_limits.csv`, whose head
//! says where they are from.

/// The table. A test reads every line of it.
const TABLE: &str = include_str!("volume_limits.csv");

/// Whether a limit is shared with network interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Shared,
    Dedicated,
}

/// A type's limit, boot volume and first interface counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    kind: Kind,
    volumes: u32,
}

/// What most Nitro types have: 28 attachments, one of which is the first interface.
const DEFAULT: Limit = Limit { kind: Kind::Shared, volumes: 27 };

/// What a node's limit depends on.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// Its type, `m5.large`.
    pub instance_type: &'a str,
    /// Network interfaces; types with a shared limit lose one volume for each after the first.
    pub interfaces: u32,
    /// Volumes that are not the driver's, the root among them.
    pub reserved: u32,
}

/// Volumes of the driver that the node can take: at least 1, since 0 means "no limit" to a CO and
/// a node that is full is better shown as too small than as endless.
#[must_use]
pub fn max_volumes(node: Node<'_>) -> u32 {
    let limit = of_type(node.instance_type);
    let interfaces = match limit.kind {
        Kind::Shared => node.interfaces.saturating_sub(1),
        Kind::Dedicated => 0,
    };
    limit.volumes.saturating_sub(node.reserved).saturating_sub(interfaces).max(1)
}

fn of_type(instance_type: &str) -> Limit {
    // SageMaker writes `ml.m5.large`.
    let instance_type = instance_type.strip_prefix("ml.").unwrap_or(instance_type);
    let (family, size) = instance_type.split_once('.').unwrap_or((instance_type, ""));
    let line = line(instance_type)
        .or_else(|| line(&format!("{family}.*")))
        .or_else(|| line(&format!("*.{size}")));
    let line = match line {
        Some((kind, "size")) => self::line(&format!("size.{size}")).or(Some((kind, ""))),
        other => other,
    };
    line.and_then(|(kind, volumes)| limit(kind, volumes)).unwrap_or(DEFAULT)
}

/// Kind and number of a pattern's line.
fn line(pattern: &str) -> Option<(&'static str, &'static str)> {
    lines().find(|(found, _, _)| *found == pattern).map(|(_, kind, volumes)| (kind, volumes))
}

fn lines() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).filter_map(|line| {
        let (pattern, rest) = line.split_once(',')?;
        let (kind, volumes) = rest.split_once(',')?;
        Some((pattern, kind, volumes))
    })
}

fn limit(kind: &str, volumes: &str) -> Option<Limit> {
    let kind = match kind {
        "shared" => Kind::Shared,
        "dedicated" => Kind::Dedicated,
        _ => return None,
    };
    Some(Limit { kind, volumes: volumes.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn max(instance_type: &str, interfaces: u32) -> u32 {
        max_volumes(Node { instance_type, interfaces, reserved: 1 })
    }

    #[test]
    fn known_types_have_the_limits_that_the_driver_before_this_one_computed() {
        for (instance_type, interfaces, want) in [
            ("t2.medium", 1, 38),
            ("m7i.48xlarge", 15, 127),
            ("g4dn.xlarge", 1, 24),
            ("d3.8xlarge", 1, 2),
            ("m5d.large", 3, 23),
            ("t3.xlarge", 40, 1),
            ("m5.metal", 3, 30),
            ("c7i.metal-24xl", 1, 38),
            ("never.heard", 1, 26),
            ("", 1, 26),
        ] {
            assert_eq!(max(instance_type, interfaces), want, "{instance_type}");
        }
    }

    #[test]
    fn every_line_of_the_table_is_read_and_no_pattern_stands_twice() {
        let data = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        assert_eq!(lines().count(), data.count());
        let mut seen = HashSet::new();
        for (pattern, kind, volumes) in lines() {
            assert!(seen.insert(pattern), "{pattern} stands twice");
            assert!(pattern.contains('.'), "{pattern}");
            let known =
                volumes == "size" || limit(kind, volumes).is_some_and(|limit| limit.volumes > 0);
            assert!(known && matches!(kind, "shared" | "dedicated"), "{pattern}");
        }
        assert!(TABLE.contains("Source:") && TABLE.contains("Date:"));
    }

    #[test]
    fn the_answer_is_never_zero_whatever_is_reserved() {
        let node = Node { instance_type: "d3.8xlarge", interfaces: 4, reserved: u32::MAX };
        assert_eq!(max_volumes(node), 1);
    }
}
