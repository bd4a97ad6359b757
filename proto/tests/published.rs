//! `csi.proto` says the same as the specification: its descriptor equals the one that the
//! specification's published Go module carries, in names, numbers, types, labels, options, enum
//! values, reserved numbers and services. Only order and comments may differ.
#![expect(clippy::expect_used, reason = "what a test relies on and does not find fails the test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _, stderr};
use std::process::{Command, Output};

use csi_proto::FILE_DESCRIPTOR_SET;
use prost_reflect::{DescriptorPool, DynamicMessage, Value};

/// One line per leaf of a descriptor: where it stands (`csi.proto/message_type CreateVolumeRequest/
/// field name/number`) and its value.
type Leaves = BTreeMap<String, String>;

#[test]
fn csi_proto_equals_the_descriptor_of_the_published_go_module() {
    let Some(published) = published() else {
        // Not `println!`, which the test harness swallows when a test passes.
        let said = writeln!(stderr(), "SKIPPED: no `go` here to run proto/tests/published with");
        return said.expect("standard error takes text");
    };
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the embedded set is valid");
    let ours = pool.get_file_by_name("csi.proto").expect("the set has csi.proto");
    let ours = leaves(&pool, &ours.encode_to_vec());
    let theirs = leaves(&pool, &published);

    // Guards the comparison itself: a walk that saw nothing would find no difference.
    assert!(theirs.len() > 1000, "the published descriptor has only {} leaves", theirs.len());
    assert!(
        ours == theirs,
        "only here:\n{}only in the published module:\n{}",
        missing(&ours, &theirs),
        missing(&theirs, &ours)
    );
}

/// What `a` says and `b` does not, one indented line each.
fn missing(a: &Leaves, b: &Leaves) -> String {
    let mut lines = String::new();
    for (place, value) in a.iter().filter(|(place, value)| b.get(*place) != Some(value)) {
        writeln!(lines, "  {place} = {value}").expect("a string takes all text");
    }
    lines
}

/// The encoded `FileDescriptorProto` in the published module; nothing without `go`.
#[expect(clippy::disallowed_methods, reason = "a test tool, not the product")]
fn published() -> Option<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/published");
    let run = Command::new("go").args(["run", "."]).current_dir(folder).output();
    let Output { status, stdout, stderr } = match run {
        Err(e) if e.kind() == ErrorKind::NotFound => return None,
        run => run.expect("go starts"),
    };
    assert!(status.success(), "go run: {status}: {}", String::from_utf8_lossy(&stderr));
    Some(stdout)
}

/// All that an encoded `FileDescriptorProto` says, independent of the order in which it says it.
fn leaves(pool: &DescriptorPool, encoded: &[u8]) -> Leaves {
    let file = pool
        .get_message_by_name("google.protobuf.FileDescriptorProto")
        .expect("csi.proto imports descriptor.proto");
    let file = DynamicMessage::decode(file, encoded).expect("a file descriptor");
    let mut leaves = Leaves::new();
    walk("csi.proto", &file, &mut leaves);
    leaves
}

fn walk(place: &str, message: &DynamicMessage, leaves: &mut Leaves) {
    for (field, value) in message.fields() {
        if field.name() != "source_code_info" {
            record(&format!("{place}/{}", field.name()), value, leaves);
        }
    }
    for (option, value) in message.extensions() {
        record(&format!("{place}/({}, {})", option.full_name(), option.number()), value, leaves);
    }
    for unknown in message.unknown_fields() {
        leaves.insert(format!("{place}/unknown {}", unknown.number()), format!("{unknown:?}"));
    }
}

fn record(place: &str, value: &Value, leaves: &mut Leaves) {
    match value {
        Value::Message(message) => walk(place, message, leaves),
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                record(&format!("{place} {}", key(index, item)), item, leaves);
            }
        }
        scalar => {
            let before = leaves.insert(place.to_owned(), format!("{scalar:?}"));
            assert_eq!(before, None, "two definitions in one place: {place}");
        }
    }
}

/// What identifies an item among its siblings: its name if it has one, a text's own value, else
/// where it stands.
fn key(index: usize, item: &Value) -> String {
    let name = match item {
        Value::Message(message) => message.get_field_by_name("name"),
        _ => None,
    };
    match (name.as_deref(), item) {
        (Some(Value::String(name)), _) | (None, Value::String(name)) => name.clone(),
        _ => index.to_string(),
    }
}
