//! Parameters that users write into `StorageClasses`, `VolumeAttributesClasses` and
//! `VolumeSnapshotClasses`.
//!
//! Each kind of class has one table. The table drives the parser, and it holds what a
//! documentation page says about each parameter, so the two cannot differ.

pub mod class;
pub mod efs;
pub mod mutable;
pub mod page;
pub mod snapshot;
pub mod tags;
pub mod template;

use std::collections::BTreeMap;

use crate::rpc_error::Invalid;

pub use class::ClassParameters;
pub use efs::EfsParameters;
pub use mutable::MutableParameters;
pub use snapshot::SnapshotParameters;
pub use tags::InvalidTags;

/// How a parameter's key is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// Any capitalisation.
    AnyCase,
    /// The key is a case-sensitive beginning; what follows only tells several of them apart.
    Prefix,
}

/// One parameter: how it is parsed and what its documentation says.
#[derive(Debug)]
pub struct Parameter<T> {
    /// The key as the documentation spells it.
    pub key: &'static str,
    /// How keys are compared.
    pub matching: Match,
    /// The values it accepts.
    pub accepts: &'static str,
    /// What holds if it is absent.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
    /// Puts the value into the result.
    pub(crate) apply: fn(&mut T, &Given<'_>) -> Result<(), Invalid>,
}

/// What the provisioner tells of the claim that a volume is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claim {
    /// Name of the `PersistentVolumeClaim`.
    pub pvc_name: Option<String>,
    /// Namespace of the `PersistentVolumeClaim`.
    pub pvc_namespace: Option<String>,
    /// Name of the `PersistentVolume`.
    pub pv_name: Option<String>,
}

impl Claim {
    /// The variables of templates, in the order of [`template::VOLUME_VARIABLES`].
    #[must_use]
    pub fn values(&self) -> template::Values<'_> {
        [self.pvc_name.as_deref(), self.pvc_namespace.as_deref(), self.pv_name.as_deref()]
    }
}

/// A parameter as the user wrote it.
#[derive(Debug)]
pub(crate) struct Given<'a> {
    /// The key.
    pub(crate) key: &'a str,
    /// The value.
    pub(crate) value: &'a str,
    /// What becomes of an invalid tag.
    pub(crate) invalid_tags: InvalidTags,
}

impl Given<'_> {
    fn refuse<V>(&self, rule: impl Into<String>) -> Result<V, Invalid> {
        Err(Invalid::new(self.key, rule))
    }

    /// The text, or `None` if it is empty.
    fn text(&self) -> Option<String> {
        (!self.value.is_empty()).then(|| self.value.to_owned())
    }

    /// A number. Zero and below mean "not set", as they always have for this driver.
    fn number(&self) -> Result<Option<u32>, Invalid> {
        match self.value.parse::<i32>() {
            Ok(number) => Ok(u32::try_from(number).ok().filter(|number| *number > 0)),
            Err(_not_a_number) => {
                self.refuse(format!("must be a whole number below 2^31, got {:?}", self.value))
            }
        }
    }

    /// `true` or `false`. The driver this one replaces took everything but `true` for false, so a
    /// `True` silently made unencrypted volumes; here it is refused.
    fn flag(&self) -> Result<bool, Invalid> {
        match self.value {
            "true" => Ok(true),
            "false" => Ok(false),
            other => {
                self.refuse(format!("must be true or false, in lower-case letters, got {other:?}"))
            }
        }
    }

    /// A value for mkfs: letters and digits only, since it becomes an argument on the node.
    fn alphanumeric(&self) -> Result<Option<String>, Invalid> {
        if self.value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            Ok(self.text())
        } else {
            self.refuse(format!("must consist of letters and digits, got {:?}", self.value))
        }
    }
}

/// The form of a kernel's release that the node reads: it begins with two numbers, as `uname -r` does.
///
/// # Errors
/// The rule it breaks.
pub fn check_kernel(field: &str, release: &str) -> Result<(), Invalid> {
    let mut numbers = release.splitn(3, '.');
    let number = |text: Option<&str>| text.is_some_and(|text| text.parse::<u16>().is_ok());
    let minor = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next().map(str::to_owned);
    let (major, second) = (numbers.next(), numbers.next().and_then(minor));
    if number(major) && number(second.as_deref()) {
        Ok(())
    } else {
        Err(Invalid::new(
            field,
            format!("must be a kernel's version such as 5.10, got {release:?}"),
        ))
    }
}

impl<T> Parameter<T> {
    fn is_named(&self, key: &str) -> bool {
        match self.matching {
            Match::AnyCase => self.key.eq_ignore_ascii_case(key),
            Match::Prefix => key.starts_with(self.key),
        }
    }
}

/// Parses parameters by a table into `parsed`. Parameters are applied in the order of their keys, so
/// that the result does not depend on chance, and `csi.storage.k8s.io/pvc/name` is known when
/// `tagSpecification` needs it.
///
/// # Errors
/// A key that the table does not have, a key given twice in different capitalisation, a value
/// that breaks the parameter's rule.
pub(crate) fn parse<T>(
    table: &'static [Parameter<T>],
    mut parsed: T,
    parameters: &BTreeMap<String, String>,
    invalid_tags: InvalidTags,
) -> Result<T, Invalid> {
    let mut seen: BTreeMap<&'static str, &str> = BTreeMap::new();
    for (key, value) in parameters {
        let Some(parameter) = table.iter().find(|parameter| parameter.is_named(key)) else {
            return Err(Invalid::new(key.as_str(), unknown(table)));
        };
        if parameter.matching == Match::AnyCase
            && let Some(other) = seen.insert(parameter.key, key)
        {
            return Err(Invalid::new(key.as_str(), format!("is the same parameter as {other:?}")));
        }
        (parameter.apply)(&mut parsed, &Given { key, value, invalid_tags })?;
    }
    Ok(parsed)
}

fn unknown<T>(table: &[Parameter<T>]) -> String {
    let known: Vec<&str> = table.iter().map(|parameter| parameter.key).collect();
    format!("is not a known parameter; known are {}", known.join(", "))
}

#[cfg(test)]
mod cases;
