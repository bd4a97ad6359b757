//! Pages of a listing.
//!
//! EC2's pages have five rows or more, the CO may want fewer. What EC2 gave and the CO did not
//! take is carried, as ids, in the token of the next page, so that no row is lost or doubled
//! whatever is made or deleted meanwhile, and nothing is remembered here.

use std::fmt;
use std::str::FromStr;

use csi_core::facts::{PAGE_MAX, PAGE_MIN};

/// Where a listing goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor<I> {
    /// Rows that EC2 gave already.
    pub(super) kept: Vec<I>,
    /// EC2's token; `None` at the beginning, and at the end.
    pub(super) token: Option<String>,
    /// Whether EC2 has no more rows than those kept.
    pub(super) is_last: bool,
}

/// A token that this driver did not make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadToken;

impl<I> Cursor<I> {
    /// The beginning of a listing.
    pub(super) fn start() -> Self {
        Self { kept: Vec::new(), token: None, is_last: false }
    }
}

impl<I: FromStr> Cursor<I> {
    /// Reads the CO's `starting_token`, made by [`fmt::Display`]; empty is the beginning.
    pub(super) fn parse(token: &str) -> Result<Self, BadToken> {
        if token.is_empty() {
            return Ok(Self::start());
        }
        let (kept, rest) = token.split_once(';').ok_or(BadToken)?;
        let kept = kept.split(',').filter(|id| !id.is_empty()).map(str::parse);
        let kept = kept.collect::<Result<Vec<I>, _>>().map_err(|_malformed| BadToken)?;
        let token = (!rest.is_empty()).then(|| rest.to_owned());
        if kept.len() >= usize::from(PAGE_MIN) || kept.is_empty() && token.is_none() {
            return Err(BadToken);
        }
        Ok(Self { is_last: token.is_none(), kept, token })
    }
}

impl<I: fmt::Display> fmt::Display for Cursor<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, id) in self.kept.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            write!(f, "{id}")?;
        }
        write!(f, ";{}", self.token.as_deref().unwrap_or_default())
    }
}

/// The rows to ask EC2 for if the CO wants `rows`.
pub(super) fn ec2_page(rows: usize) -> u16 {
    u16::try_from(rows).unwrap_or(PAGE_MAX).clamp(PAGE_MIN, PAGE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use csi_core::VolumeId;
    use proptest::prelude::*;

    #[test]
    fn a_foreign_token_is_refused() {
        for token in ["x", ";", "vol-1;abc", "1234"] {
            assert_eq!(Cursor::<VolumeId>::parse(token), Err(BadToken), "{token}");
        }
        assert_eq!(Cursor::<VolumeId>::parse(""), Ok(Cursor::start()));
    }

    proptest! {
        #[test]
        fn a_cursor_round_trips(
            hex in proptest::collection::vec("[0-9a-f]{17}", 0..4),
            token in "[a-zA-Z0-9+/=;,]{0,40}",
        ) {
            let kept: Vec<VolumeId> =
                hex.iter().map(|hex| format!("vol-{hex}").parse().unwrap()).collect();
            let token = (!token.is_empty()).then_some(token);
            if !(kept.is_empty() && token.is_none()) {
                let cursor = Cursor { is_last: token.is_none(), kept, token };
                prop_assert_eq!(Cursor::parse(&cursor.to_string()), Ok(cursor));
            }
        }

        #[test]
        fn random_tokens_never_panic(token in "\\PC*") {
            let _ = Cursor::<VolumeId>::parse(&token);
        }
    }
}
