//! Locks of snapshots: what a class says of them, put together and checked. Limits: EC2 API
//! reference, `LockSnapshot`.

use std::ops::RangeInclusive;

use crate::ebs::{LockEnd, LockMode, SnapshotLock};
use crate::parameters::Given;
use crate::rpc_error::Invalid;

pub(super) const MODE: &str = "lockMode";
pub(super) const DURATION: &str = "lockDuration";
pub(super) const EXPIRATION: &str = "lockExpirationDate";
pub(super) const COOL_OFF: &str = "lockCoolOffPeriod";

/// Days that a lock may last.
const DAYS: RangeInclusive<u32> = 1..=36_500;
/// Hours that a lock in compliance mode may be loose at first.
const HOURS: RangeInclusive<u32> = 1..=72;

/// What was said of a lock so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Wish {
    pub(super) mode: Option<LockMode>,
    pub(super) days: Option<u32>,
    pub(super) expires: Option<i64>,
    pub(super) cool_off: Option<u32>,
}

impl Wish {
    /// The lock, if one is asked for.
    pub(super) fn lock(&self) -> Result<Option<SnapshotLock>, Invalid> {
        let Some(mode) = self.mode else {
            let alone = [
                (DURATION, self.days.is_some()),
                (EXPIRATION, self.expires.is_some()),
                (COOL_OFF, self.cool_off.is_some()),
            ];
            return match alone.into_iter().find(|(_, is_said)| *is_said) {
                None => Ok(None),
                Some((key, _)) => Err(Invalid::new(key, "needs lockMode")),
            };
        };
        let end = match (self.days, self.expires) {
            (Some(days), None) => LockEnd::AfterDays(days),
            (None, Some(seconds)) => LockEnd::At { seconds },
            (None, None) => {
                return Err(Invalid::new(MODE, "needs lockDuration or lockExpirationDate"));
            }
            (Some(_), Some(_)) => {
                return Err(Invalid::new(EXPIRATION, "must not be set together with lockDuration"));
            }
        };
        if self.cool_off.is_some() && mode == LockMode::Governance {
            return Err(Invalid::new(COOL_OFF, "needs lockMode compliance"));
        }
        Ok(Some(SnapshotLock { mode, end, cool_off_hours: self.cool_off }))
    }
}

pub(super) fn mode(given: &Given<'_>) -> Result<LockMode, Invalid> {
    match given.value {
        "governance" => Ok(LockMode::Governance),
        "compliance" => Ok(LockMode::Compliance),
        other => given.refuse(format!("must be governance or compliance, got {other:?}")),
    }
}

pub(super) fn days(given: &Given<'_>) -> Result<u32, Invalid> {
    within(given, DAYS)
}

pub(super) fn hours(given: &Given<'_>) -> Result<u32, Invalid> {
    within(given, HOURS)
}

fn within(given: &Given<'_>, range: RangeInclusive<u32>) -> Result<u32, Invalid> {
    match given.value.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => given.refuse(format!(
            "must be a whole number from {} to {}, got {:?}",
            range.start(),
            range.end(),
            given.value
        )),
    }
}

pub(super) fn date(given: &Given<'_>) -> Result<i64, Invalid> {
    let Some(seconds) = rfc_3339(given.value) else {
        let form = "a time as 2030-01-31T00:00:00Z (RFC 3339)";
        return given.refuse(format!("must be {form}, got {:?}", given.value));
    };
    Ok(seconds)
}

/// Seconds since 1970 of an RFC 3339 time; fractions of a second are dropped.
fn rfc_3339(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let (separator, rest) = rest.split_at_checked(1)?;
    let (time, rest) = rest.split_at_checked(8)?;
    if !separator.eq_ignore_ascii_case("t") {
        return None;
    }
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let offset = offset(after_fraction(rest)?)?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => return None,
    };
    // A leap second counts as the next one.
    let is_real = (1..=length).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    is_real.then_some(seconds - offset)
}

fn after_fraction(rest: &str) -> Option<&str> {
    let Some(fraction) = rest.strip_prefix('.') else { return Some(rest) };
    let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    (zone.len() < fraction.len()).then_some(zone)
}

fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let [hours, minutes] = numbers(rest, ':', [2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Numbers of so many digits each.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(separator);
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Days from 1970-01-01 in the Gregorian calendar. The year is taken to begin in March, so that
/// the leap day is its last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use test_case::test_case;

    #[test_case("1970-01-01T00:00:00Z", 0; "the epoch")]
    #[test_case("2026-01-02T03:04:05.678Z", 1_767_323_045; "a fraction")]
    #[test_case("2024-02-29T23:59:59+01:30", 1_709_245_799; "a leap day and an offset")]
    #[test_case("2024-03-01t00:00:00z", 1_709_251_200; "small letters")]
    #[test_case("1969-12-31T23:59:59-00:00", -1; "before the epoch")]
    fn a_time_is_read(text: &str, seconds: i64) {
        assert_eq!(rfc_3339(text), Some(seconds));
    }

    #[test_case(""; "nothing")]
    #[test_case("2026-01-02"; "a date")]
    #[test_case("2026-01-02T03:04:05"; "no zone")]
    #[test_case("2026-01-02 03:04:05Z"; "a space")]
    #[test_case("2026-02-29T00:00:00Z"; "no such day")]
    #[test_case("2026-13-01T00:00:00Z"; "no such month")]
    #[test_case("2026-01-01T24:00:00Z"; "no such hour")]
    #[test_case("2026-01-01T00:00:00.Z"; "an empty fraction")]
    #[test_case("2026-01-01T00:00:00+1:00"; "a short offset")]
    fn a_time_is_refused(text: &str) {
        assert_eq!(rfc_3339(text), None);
    }

    proptest! {
        #[test]
        fn days_follow_each_other(year in 1970..2200_i64, month in 1..=12_i64, day in 1..28_i64) {
            let next = days_since_1970(year, month, day + 1);
            prop_assert_eq!(next, days_since_1970(year, month, day) + 1);
            prop_assert_eq!(days_since_1970(year, 12, 31) + 1, days_since_1970(year + 1, 1, 1));
        }

        #[test]
        fn nothing_panics(text in "\\PC*", digits in "[0-9TtZz:.+-]{0,30}") {
            rfc_3339(&text);
            rfc_3339(&digits);
        }
    }
}
