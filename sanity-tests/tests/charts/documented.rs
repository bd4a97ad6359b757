//! The values that docs/install.md shows render, and its table names keys that exist.

use sanity_tests::chart::{Chart, project};

use crate::examples::blocks;
use crate::{has_helm, render};

#[test]
fn the_values_that_the_documentation_shows_render() {
    if !has_helm() {
        return;
    }
    let text = std::fs::read_to_string(project().join("docs/install.md")).unwrap();
    let mut rendered = 0;
    for block in blocks(&text, "yaml") {
        // Blocks within a list are indented.
        let indent = block.len() - block.trim_start_matches(' ').len();
        let lines = block.lines().map(|line| line.get(indent..).unwrap_or_default());
        let values = lines.collect::<Vec<_>>().join("\n");
        for name in ["aws-ebs-csi-driver", "aws-efs-csi-driver"] {
            if values.starts_with(&format!("# {name}\n")) {
                let objects = render(&Chart::new(name), &values);
                assert!(objects.len() > 10, "{values}");
                rendered += 1;
            }
        }
    }
    assert!(rendered >= 3, "{rendered} blocks");
}
