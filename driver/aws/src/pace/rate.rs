//! The rate of an action as a person sets it, where the account's quota is not EC2's default.

use std::str::FromStr;

use crate::action::{Action, Service};

/// Calls per second of an action, `CreateVolume=20`: where pacing starts when EC2 first refuses a
/// call, in place of the documented refill.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    pub(super) action: Action,
    pub(super) per_second: f64,
}

/// A text that is not a [`Rate`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRate {
    /// There is no `=`.
    #[error("{text:?}: want ACTION=CALLS_PER_SECOND, such as CreateVolume=20")]
    Form {
        /// The text as it came.
        text: String,
    },
    /// The driver does not call such an action.
    #[error("{name:?} is no EC2 action that the driver calls; those are {}", names())]
    Action {
        /// The name as it came.
        name: String,
    },
    /// The number is no rate.
    #[error("{number:?} is no rate: want calls per second, from 0.2 to 10000")]
    Number {
        /// The number as it came.
        number: String,
    },
}

fn names() -> String {
    Service::Ec2.actions().map(Action::name).collect::<Vec<_>>().join(", ")
}

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        let (name, number) =
            text.split_once('=').ok_or_else(|| InvalidRate::Form { text: text.to_owned() })?;
        let action = Action::named(name)
            .filter(|action| action.service() == Service::Ec2)
            .ok_or_else(|| InvalidRate::Action { name: name.to_owned() })?;
        let per_second = number
            .parse::<f64>()
            .ok()
            .filter(|rate| (0.2..=10_000.0).contains(rate))
            .ok_or_else(|| InvalidRate::Number { number: number.to_owned() })?;
        Ok(Self { action, per_second })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_and_a_wrong_one_is_told_what_is_wrong() {
        let rate: Rate = "CreateVolume=12.5".parse().unwrap();
        assert_eq!(rate, Rate { action: Action::CreateVolume, per_second: 12.5 });
        for (text, part) in [
            ("CreateVolume", "ACTION=CALLS_PER_SECOND"),
            ("CreateAccessPoint=5", "no EC2 action"),
            ("Create=5", "those are CreateVolume, CopyVolumes"),
            ("CreateVolume=fast", "calls per second"),
            ("CreateVolume=NaN", "calls per second"),
            ("CreateVolume=-1", "calls per second"),
        ] {
            let error = text.parse::<Rate>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
