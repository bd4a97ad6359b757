//! Directories of volumes: where in the file system they lie and how they are called.
//!
//! What EFS takes as an access point's root directory: `/` and components that do not begin with
//! a dot and have none of `` $#<>;`|&?{}^* `` in them, at most 100 bytes in all. Source: EFS API
//! reference, `RootDirectory.Path`.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::facts::efs::{ROOT_PATH_DEPTH, ROOT_PATH_MAX};
use crate::parameters::Claim;
use crate::rpc_error::Invalid;

/// Bytes of a hash that stands for the cut end of a name, in hex digits.
const HASH_DIGITS: usize = 16;

/// Permissions of a directory, in octal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions(String);

impl FromStr for Permissions {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let is_octal = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        if is_octal && matches!(text.len(), 3 | 4) {
            Ok(Self(text.to_owned()))
        } else {
            Err("must be three or four octal digits, such as \"700\"")
        }
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A base path: absolute and clean.
///
/// # Errors
/// A component that EFS does not take, or `..`.
pub fn base_path(field: &str, text: &str) -> Result<String, Invalid> {
    let parts = components(text).map_err(|rule| Invalid::new(field, rule))?;
    Ok(format!("/{}", parts.join("/")))
}

/// Components of a path, without empty ones and `.`.
fn components(path: &str) -> Result<Vec<&str>, String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    for part in &parts {
        if let Some(rule) = component_rule(part) {
            return Err(format!("{part:?}: {rule}"));
        }
    }
    Ok(parts)
}

fn component_rule(part: &str) -> Option<&'static str> {
    if part.starts_with('.') {
        Some("a directory's name must not begin with a dot")
    } else if part.contains(['$', '#', '<', '>', ';', '`', '|', '&', '?', '{', '}', '^', '*'])
        || part.chars().any(char::is_control)
    {
        Some("EFS takes no control characters and none of $#<>;`|&?{}^* in a directory's name")
    } else {
        None
    }
}

/// A pattern of directories, in parts that stand for themselves or for a name of the claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubPath(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    PvcName,
    PvcNamespace,
    PvName,
}

impl FromStr for SubPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = |at: &str| {
            let shown: String = at.chars().take(40).collect();
            format!(
                "{shown:?} is none of ${{.PVC.name}}, ${{.PVC.namespace}}, ${{.PV.name}}, and $ and \
                 braces stand for nothing else"
            )
        };
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, from) = rest.split_at(start);
            let Some((variable, after)) = from.split_once('}') else { return Err(unknown(from)) };
            parts.push(Part::Text(before.to_owned()));
            parts.push(match variable {
                "${.PVC.name" => Part::PvcName,
                "${.PVC.namespace" => Part::PvcNamespace,
                "${.PV.name" => Part::PvName,
                _ => return Err(unknown(from)),
            });
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        let plain: String = parts
            .iter()
            .map(|part| if let Part::Text(text) = part { text.as_str() } else { "x" })
            .collect();
        components(&plain)?;
        Ok(Self(parts))
    }
}

impl SubPath {
    /// The directories for a claim. The volume is called as its `PersistentVolume` if the
    /// provisioner does not say how that is called.
    ///
    /// # Errors
    /// A name that the provisioner did not tell, or one that is no directory's name.
    pub fn render(&self, claim: &Claim, volume: &str) -> Result<String, Invalid> {
        let untold = || {
            Invalid::new(
                "subPathPattern",
                "needs the claim's name; run the provisioner with --extra-create-metadata",
            )
        };
        let mut path = String::new();
        for part in &self.0 {
            path.push_str(match part {
                Part::Text(text) => text,
                Part::PvcName => claim.pvc_name.as_deref().ok_or_else(untold)?,
                Part::PvcNamespace => claim.pvc_namespace.as_deref().ok_or_else(untold)?,
                Part::PvName => claim.pv_name.as_deref().unwrap_or(volume),
            });
        }
        Ok(path)
    }
}

/// The root directory of a volume called `name` without a pattern.
///
/// # Errors
/// A base path too long or too deep for a directory below it.
pub fn directory_of_name(base: &str, name: &str) -> Result<String, Invalid> {
    // A name may hold what a directory's name cannot.
    if name.contains('/') || component_rule(name).is_some() {
        return join(base, &hash(name));
    }
    join(base, name)
}

/// The root directory of a volume by a pattern that was rendered; `unique` follows it.
///
/// # Errors
/// A path that is empty, too deep, or holds what a directory's name cannot.
pub fn directory_of_pattern(
    base: &str,
    rendered: &str,
    unique: Option<&str>,
) -> Result<String, Invalid> {
    let invalid = |rule: String| Invalid::new("subPathPattern", rule);
    let parts = components(rendered).map_err(invalid)?;
    let path = parts.join("/");
    match (path.as_str(), unique) {
        ("", None) if base == "/" => {
            Err(invalid("must name a directory: the file system's root is no volume".to_owned()))
        }
        ("", None) => join(base, ""),
        (path, None) => join(base, path),
        (path, Some(unique)) => join(base, &format!("{path}-{unique}")),
    }
}

/// Something unique to a volume that is the same at every try: a hash in the form of a UUID, where
/// the replaced driver has a random one.
#[must_use]
pub fn unique_suffix(volume: &str) -> String {
    let digits = hex::encode(Sha256::digest(volume));
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    // Version 8 of RFC 9562: "custom".
    let (first, second, third) = (part(0, 8), part(8, 12), part(13, 16));
    format!("{first}-{second}-8{third}-8{}-{}", part(17, 20), part(20, 32))
}

fn hash(text: &str) -> String {
    let digits = hex::encode(Sha256::digest(text));
    digits.get(..HASH_DIGITS).unwrap_or_default().to_owned()
}

/// Joins and checks. A last component that does not fit is cut, and a hash stands for its end.
fn join(base: &str, below: &str) -> Result<String, Invalid> {
    let slash = if base.ends_with('/') || below.is_empty() { "" } else { "/" };
    let path = format!("{base}{slash}{below}");
    if path.matches('/').count() > ROOT_PATH_DEPTH {
        return Err(Invalid::new(
            "basePath",
            format!("{path:?} has more than {ROOT_PATH_DEPTH} directories"),
        ));
    }
    if path.len() <= ROOT_PATH_MAX {
        return Ok(path);
    }
    let too_long = || {
        let rule = format!("{path:?} is longer than the {ROOT_PATH_MAX} bytes that EFS takes");
        Invalid::new("basePath", rule)
    };
    let (parent, last) = path.rsplit_once('/').ok_or_else(too_long)?;
    let room = ROOT_PATH_MAX.checked_sub(parent.len() + 2 + HASH_DIGITS).ok_or_else(too_long)?;
    let end = (0..=room.min(last.len())).rev().find(|end| last.is_char_boundary(*end));
    let kept = end.and_then(|end| last.get(..end)).filter(|kept| !kept.is_empty());
    let kept = kept.ok_or_else(too_long)?;
    Ok(format!("{parent}/{kept}-{}", hash(last)))
}

#[cfg(test)]
mod tests;
