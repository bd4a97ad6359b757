//! What a call is about, as a handler says it: the fields of the call's log lines.
//!
//! Say each thing once: the text format appends. Values are escaped, so a hostile id cannot forge a line. Never record anything marked secret.

use std::fmt::Display;

use tracing::Span;

/// The volume's id.
pub fn volume(id: impl Display) {
    record("volume", id);
}

/// The name that the CO chose for a volume or snapshot; the field is `csi_name`, since a span has a
/// `name` of its own.
pub fn name(name: impl Display) {
    record("csi_name", name);
}

/// The node's id.
pub fn node(id: impl Display) {
    record("node", id);
}

/// The snapshot's id.
pub fn snapshot(id: impl Display) {
    record("snapshot", id);
}

/// The staging, target or volume path.
pub fn path(path: impl Display) {
    record("path", path);
}

/// As text and not as `Display`, since only text is escaped in both formats.
fn record(field: &str, value: impl Display) {
    Span::current().record(field, value.to_string().as_str());
}
