//! Emits `Debug` for every message that has a field marked `csi_secret`, with the number of
//! secrets in place of the secrets.

use std::error::Error;
use std::fmt::Write as _;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, Value};

/// The option's full name; its number is 1059.
const SECRET: &str = "csi.v1.csi_secret";

/// Every message with at least one secret field.
pub(crate) fn secretive(pool: &DescriptorPool) -> Result<Vec<MessageDescriptor>, Box<dyn Error>> {
    let mut found = Vec::new();
    for message in pool.all_messages() {
        for field in message.fields() {
            if is_secret(pool, &field)? {
                found.push(message.clone());
                break;
            }
        }
    }
    Ok(found)
}

fn is_secret(pool: &DescriptorPool, field: &FieldDescriptor) -> Result<bool, Box<dyn Error>> {
    let option = pool.get_extension_by_name(SECRET).ok_or("csi.proto defines no csi_secret")?;
    Ok(field.options().get_extension(&option).as_ref() == &Value::Bool(true))
}

/// The implementations, to be included in the module of package `csi.v1`.
pub(crate) fn source(messages: &[MessageDescriptor]) -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    for message in messages {
        if message.package_name() != "csi.v1" || message.parent_message().is_some() {
            // A nested message lives in a module of its own; none has secrets so far.
            return Err(format!("{}: secrets in an unexpected place", message.full_name()).into());
        }
        let name = message.name();
        writeln!(out, "impl ::core::fmt::Debug for {name} {{")?;
        writeln!(
            out,
            "    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{"
        )?;
        writeln!(out, "        f.debug_struct(\"{name}\")")?;
        for field in message.fields() {
            let name = field.name();
            writeln!(out, "            .field(\"{name}\", {})", shown(message, &field)?)?;
        }
        writeln!(out, "            .finish()\n    }}\n}}")?;
    }
    Ok(out)
}

/// The expression whose `Debug` stands for the field's value.
fn shown(message: &MessageDescriptor, field: &FieldDescriptor) -> Result<String, Box<dyn Error>> {
    let name = field.name();
    if field.containing_oneof().is_some() {
        let message = message.full_name();
        return Err(format!("{message}.{name}: a oneof beside secrets is not provided for").into());
    }
    let secret = is_secret(message.parent_pool(), field)?;
    Ok(match (secret, field.is_list() || field.is_map(), field.kind()) {
        (true, true, _) => format!("&format_args!(\"<{{}} redacted>\", self.r#{name}.len())"),
        (true, false, _) => "&format_args!(\"<redacted>\")".to_owned(),
        // The getter gives the enum; the field holds its number.
        (false, false, Kind::Enum(_)) => format!("&self.r#{name}()"),
        (false, _, _) => format!("&self.r#{name}"),
    })
}

/// An array of pairs, for every message outside another: its full name, and the function that shows
/// an encoded one as its Rust type does. `tests/redaction.rs` needs it to follow the descriptor too.
pub(crate) fn by_name(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let mut out = "[\n".to_owned();
    for message in pool.all_messages() {
        if message.package_name() == "csi.v1" && message.parent_message().is_none() {
            let (full, name) = (message.full_name(), message.name());
            writeln!(out, "    (\"{full}\", shown::<csi::{name}>),")?;
        }
    }
    out.push_str("]\n");
    Ok(out)
}
