//! Emits the enum `Rpc`: one variant for each call of each service in the descriptors.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use prost_reflect::{DescriptorPool, MethodDescriptor};

/// The enum and its tables.
pub(crate) fn source(pool: &DescriptorPool) -> Result<String, fmt::Error> {
    let methods: Vec<MethodDescriptor> =
        pool.services().flat_map(|s| s.methods().collect::<Vec<_>>()).collect();
    let mut out = String::new();

    writeln!(
        out,
        "/// A call of one of the services in this crate; the variant is the method's name"
    )?;
    writeln!(out, "/// with its service's name in front, unless it begins with that already.")?;
    writeln!(out, "#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]")?;
    writeln!(out, "pub enum Rpc {{")?;
    for method in &methods {
        writeln!(out, "    /// `{}`", path(method))?;
        writeln!(out, "    {},", variant(method))?;
    }
    writeln!(out, "}}\n\nimpl Rpc {{")?;

    writeln!(out, "    /// Every call, service by service.")?;
    writeln!(out, "    pub const ALL: [Self; {}] = [", methods.len())?;
    for method in &methods {
        writeln!(out, "        Self::{},", variant(method))?;
    }
    writeln!(out, "    ];\n")?;

    writeln!(
        out,
        "    /// The call with this HTTP/2 path, e.g. `/csi.v1.Controller/CreateVolume`."
    )?;
    writeln!(out, "    #[must_use]\n    pub fn from_path(path: &str) -> Option<Self> {{")?;
    writeln!(out, "        Some(match path {{")?;
    for method in &methods {
        writeln!(out, "            \"{}\" => Self::{},", path(method), variant(method))?;
    }
    writeln!(out, "            _ => return None,\n        }})\n    }}\n")?;

    let doc = "The HTTP/2 path, e.g. `/csi.v1.Controller/CreateVolume`.";
    table(&mut out, &methods, "path", doc, path)?;
    let doc = "The method's name alone, e.g. `CreateVolume`.";
    table(&mut out, &methods, "name", doc, |m| m.name().to_owned())?;
    let doc = "The service's full name, e.g. `csi.v1.Controller`.";
    table(&mut out, &methods, "service", doc, |m| m.parent_service().full_name().to_owned())?;
    writeln!(out, "}}")?;
    Ok(out)
}

/// One constant function from variant to text.
fn table(
    out: &mut String,
    methods: &[MethodDescriptor],
    name: &str,
    doc: &str,
    text: impl Fn(&MethodDescriptor) -> String,
) -> fmt::Result {
    let mut arms = BTreeMap::<String, Vec<String>>::new();
    writeln!(out, "    /// {doc}\n    #[must_use]")?;
    writeln!(out, "    pub const fn {name}(self) -> &'static str {{\n        match self {{")?;
    for method in methods {
        arms.entry(text(method)).or_default().push(format!("Self::{}", variant(method)));
    }
    for (text, variants) in arms {
        writeln!(out, "            {} => \"{text}\",", variants.join(" | "))?;
    }
    writeln!(out, "        }}\n    }}\n")
}

fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// `Controller` + `CreateVolume` → `ControllerCreateVolume`, but
/// `Controller` + `ControllerPublishVolume` → `ControllerPublishVolume`.
fn variant(method: &MethodDescriptor) -> String {
    let service = method.parent_service().name().to_owned();
    let name = method.name();
    format!("{service}{}", name.strip_prefix(service.as_str()).unwrap_or(name))
}
