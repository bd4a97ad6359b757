//! The documentation page of the parameters, made of the tables that the parsers use.

use std::fmt::Write as _;

use super::class::{CLASS, FORMAT_OPTIONS, knows};
use super::efs::EFS_CLASS;
use super::mutable::MUTABLE;
use super::snapshot::SNAPSHOT;
use super::tags::{RESERVED_KEYS, RESERVED_PREFIXES};
use super::template::{FUNCTIONS, SNAPSHOT_VARIABLES, VOLUME_VARIABLES};
use super::{Match, Parameter};
use crate::capability::FsType;
use crate::facts::VOLUME_TYPES;

const HEAD: &str = "\
<!-- Made by `cargo run -p csi-core --example parameters`; a test compares it. -->

# Parameters of ebs.csi.aws.com

Values are strings. Keys match in any capitalisation, but for those that end in `*`: they match
exactly, and what follows only tells several of them apart (`tagSpecification_1`,
`tagSpecification_2`). A key that is not listed, a key given twice and a value that is not of the
accepted form are refused with `InvalidArgument`, by name. Sizes are counted in GiB (2^30 bytes),
throughput in MiB/s.
";

const TEMPLATES: &str = "
## Tags and their templates

A tag is `key=value`, split at the first `=`. EC2 takes keys of 1 to 128 and values of up to 256
characters, and 50 tags for each object. The value is a template: text with actions in `{{ }}`. An
action is a pipeline of variables, texts (`\"text\"`, `` `text` ``), whole numbers, parentheses and
the functions below; what is piped is the last argument. `{{-` and `-}}` trim white space, and
`{{/* */}}` is a comment. All else of Go's templates (`if`, `range`, `with`, `printf`, `eq`, `$x` and
so on) is refused by name. A variable that the sidecar did not tell is empty; the sidecars tell
them with `--extra-create-metadata`. The same templates are taken by `--extra-tags` for volumes;
snapshots get those values as they are.

";

const EFS: &str = "
# Parameters of efs.csi.aws.com

Keys and values are read as above. true and false may also be written as Go reads them: `1`, `t`,
`T`, `TRUE`, `True`, `0`, `f`, `F`, `FALSE`, `False`. A directory that would be longer than the 100
bytes that EFS takes is cut, and a hash stands for the end of its name.
";

/// The page in Markdown.
#[must_use]
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    table(&mut page, "StorageClass", CLASS);
    formats(&mut page);
    volume_types(&mut page);
    let title = "VolumeAttributesClass, and annotations `ebs.csi.aws.com/…` of a claim";
    table(&mut page, title, MUTABLE);
    page.push_str(
        "\nA `VolumeAttributesClass` may also accompany the creation of a volume; it then overrides \
         the\n`StorageClass`.\n",
    );
    table(&mut page, "VolumeSnapshotClass", SNAPSHOT);
    templates(&mut page);
    page.push_str(EFS);
    table(&mut page, "StorageClass of EFS", EFS_CLASS);
    page
}

fn row(page: &mut String, cells: &[&str]) {
    for cell in cells {
        page.push_str("| ");
        page.push_str(&cell.replace('|', "\\|"));
        page.push(' ');
    }
    page.push_str("|\n");
}

fn heading(page: &mut String, cells: &[&str]) {
    page.push('\n');
    row(page, cells);
    row(page, &vec!["---"; cells.len()]);
}

fn table<T>(page: &mut String, title: &str, parameters: &[Parameter<T>]) {
    page.push_str("\n## ");
    page.push_str(title);
    page.push('\n');
    heading(page, &["Key", "Accepted", "Default", "Meaning"]);
    for parameter in parameters {
        let star = match parameter.matching {
            Match::AnyCase => "",
            Match::Prefix => "*",
        };
        let key = format!("`{}{star}`", parameter.key);
        row(page, &[&key, parameter.accepts, parameter.default, parameter.meaning]);
    }
}

fn formats(page: &mut String) {
    page.push_str("\n### Options of file systems\n\nNone of them goes with block volumes.\n");
    let systems = [FsType::Ext3, FsType::Ext4, FsType::Xfs];
    let names = systems.map(|system| system.to_string());
    heading(page, &["Option", &names[0], &names[1], &names[2]]);
    for (key, context_key) in FORMAT_OPTIONS {
        let [a, b, c] = systems.map(|system| if knows(system, context_key) { "yes" } else { "" });
        row(page, &[&format!("`{key}`"), a, b, c]);
    }
}

fn volume_types(page: &mut String) {
    page.push_str(
        "\n### Volume types\n\nA wish outside these limits is refused, or lowered where the key says so. \
         Types that are not\nlisted are left to EC2.\n",
    );
    let head = ["Type", "GiB", "IOPS", "IOPS for each GiB", "MiB/s", "Several nodes"];
    heading(page, &head);
    for facts in &VOLUME_TYPES {
        let size = format!("{} to {}", facts.min_gib, facts.max_gib);
        let iops = facts.iops.map_or_else(String::new, |iops| {
            let default = match iops.default {
                Some(default) => format!("default {default}"),
                None => "must be set".to_owned(),
            };
            format!("{} to {}, {default}", iops.min, iops.max)
        });
        let ratio = facts.iops.map_or_else(String::new, |iops| iops.per_gib.to_string());
        let throughput = facts.throughput.map_or_else(String::new, |limits| {
            format!(
                "{} to {}, default {}; {} IOPS for each",
                limits.min, limits.max, limits.default, limits.iops_per_mib
            )
        });
        let many = if facts.multi_attach { "yes" } else { "" };
        row(page, &[facts.name, &size, &iops, &ratio, &throughput, many]);
    }
}

fn templates(page: &mut String) {
    page.push_str(TEMPLATES);
    let list = |names: &[&str]| {
        let quoted: Vec<_> = names.iter().map(|name| format!("`.{name}`")).collect();
        quoted.join(", ")
    };
    // Writing to a text cannot fail.
    let _ = writeln!(page, "- Variables of volumes: {}", list(&VOLUME_VARIABLES));
    let _ = writeln!(page, "- Variables of snapshots: {}", list(&SNAPSHOT_VARIABLES));
    for (name, usage) in FUNCTIONS {
        let rest = usage.strip_prefix(name).unwrap_or(usage);
        let (arguments, meaning) = rest.split_once(':').unwrap_or((rest, ""));
        let colon = if meaning.is_empty() { "" } else { ":" };
        let _ = writeln!(page, "- `{name}{arguments}`{colon}{meaning}");
    }
    let quote = |keys: &[&str]| {
        let quoted: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
        quoted.join(", ")
    };
    let _ = write!(
        page,
        "\nReserved keys: {}, and all that begin with {}.\n\n\
         With `--warn-on-invalid-tag` a tag that is reserved, malformed or a template that fails is left\n\
         out when a volume or a snapshot is made, with a line in the log, instead of being refused.\n",
        quote(&RESERVED_KEYS),
        quote(&RESERVED_PREFIXES)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_is_what_the_tables_give() {
        let committed = include_str!("../../../../docs/parameters.md");
        assert_eq!(committed, page(), "run: cargo run -p csi-core --example parameters");
    }

    #[test]
    fn the_page_lists_every_parameter() {
        let page = page();
        let keys = CLASS.iter().map(|parameter| parameter.key);
        let keys = keys.chain(MUTABLE.iter().map(|parameter| parameter.key));
        let keys = keys.chain(EFS_CLASS.iter().map(|parameter| parameter.key));
        for key in keys.chain(SNAPSHOT.iter().map(|parameter| parameter.key)) {
            assert!(page.contains(&format!("| `{key}")), "{key}");
        }
    }
}
