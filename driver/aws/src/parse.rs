//! From the SDK's answers to domain types.
//!
//! Every field of an EC2 answer is optional to the SDK. What this driver needs is demanded here;
//! a missing or odd field is an error that names it, never a default.

mod instance;
mod modification;
mod snapshot;
mod status;
mod volume;

use std::str::FromStr;

use aws_sdk_ec2::types;
use csi_core::ebs::Tags;
use csi_core::{ApiError, ErrorKind, GiB};

use crate::action::Action;

pub(crate) use instance::instance;
pub(crate) use modification::{modification, was_modified};
pub(crate) use snapshot::{snapshot, snapshot_from};
pub(crate) use status::initialization;
pub(crate) use volume::{attachment_from, volume, volume_from};

/// A field that is not what AWS's reference says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Odd {
    /// It is absent.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Its value makes no sense.
    #[error("{field} is {value:?}")]
    Value { field: &'static str, value: String },
}

/// The error for an answer that is not what AWS's reference says.
pub(crate) fn odd(action: Action, odd: &Odd) -> ApiError {
    ApiError {
        action: action.name(),
        kind: ErrorKind::Unexpected,
        code: "OddAnswer".to_owned(),
        message: format!("in the answer {odd}"),
        request_id: None,
    }
}

pub(crate) fn value(field: &'static str, value: &(impl ToString + ?Sized)) -> Odd {
    Odd::Value { field, value: value.to_string() }
}

pub(crate) fn need<T>(field: &'static str, found: Option<T>) -> Result<T, Odd> {
    found.ok_or(Odd::Missing(field))
}

/// EC2 writes some absent texts as empty elements.
pub(crate) fn text(found: Option<&str>) -> Option<&str> {
    found.filter(|text| !text.is_empty())
}

pub(crate) fn need_id<T: FromStr>(field: &'static str, found: Option<&str>) -> Result<T, Odd> {
    parse_id(field, need(field, text(found))?)
}

pub(crate) fn parse_id<T: FromStr>(field: &'static str, found: &str) -> Result<T, Odd> {
    found.parse().map_err(|_rule| value(field, found))
}

fn count(field: &'static str, found: i32) -> Result<u32, Odd> {
    u32::try_from(found).map_err(|_negative| value(field, &found))
}

fn maybe_count(field: &'static str, found: Option<i32>) -> Result<Option<u32>, Odd> {
    found.map(|found| count(field, found)).transpose()
}

fn size(field: &'static str, found: Option<i32>) -> Result<GiB, Odd> {
    count(field, need(field, found)?).map(GiB)
}

fn tags(found: &[types::Tag]) -> Result<Tags, Odd> {
    found
        .iter()
        .map(|tag| {
            let key = need("tag.key", tag.key())?.to_owned();
            // A tag without value is one with an empty value.
            Ok((key, tag.value().unwrap_or_default().to_owned()))
        })
        .collect()
}
