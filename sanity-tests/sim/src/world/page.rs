//! Pages of answers, with tokens that mean nothing to whoever gets them.

use csi_core::facts;
use sha2::{Digest, Sha256};

use super::call::{Describe, Listing};
use super::error::AwsError;

/// Cuts rows, sorted by id, into the page that a call asks for.
pub(crate) fn cut<T>(
    rows: Vec<T>,
    id: impl Fn(&T) -> String,
    call: &Describe,
    listing: &str,
) -> Result<Listing<T>, AwsError> {
    if call.max_results.is_some() && !call.ids.is_empty() {
        return Err(AwsError::combination(format!(
            "The parameter {listing}Ids cannot be used with the parameter maxResults"
        )));
    }
    let from = match &call.next_token {
        None => String::new(),
        Some(token) => read(token, listing)?,
    };
    let size = match call.max_results {
        None => usize::MAX,
        Some(few) if few < u32::from(facts::PAGE_MIN) => {
            return Err(AwsError::value(format!(
                "Value ( {few} ) for parameter maxResults is invalid. Expecting a value greater \
                 than {}.",
                facts::PAGE_MIN
            )));
        }
        // EC2 API reference, `DescribeVolumes`: a larger value counts as the largest.
        Some(many) => usize::try_from(many.min(u32::from(facts::PAGE_MAX))).unwrap_or(usize::MAX),
    };
    let mut items: Vec<T> = rows.into_iter().filter(|row| id(row) > from).collect();
    let mut next_token = None;
    if items.len() > size {
        items.truncate(size);
        next_token = items.last().map(|last| write(&id(last), listing));
    }
    Ok(Listing { items, next_token })
}

/// A token for what follows `last`.
pub(super) fn write(last: &str, listing: &str) -> String {
    hex::encode(format!("{}{last}", seal(last, listing)))
}

/// The last id of the page before.
pub(super) fn read(token: &str, listing: &str) -> Result<String, AwsError> {
    let bad = || AwsError::new("InvalidPaginationToken", format!("The token '{token}' is invalid"));
    let bytes = hex::decode(token).map_err(|_malformed| bad())?;
    let text = String::from_utf8(bytes).map_err(|_malformed| bad())?;
    let (sealed, last) = text.split_at_checked(16).ok_or_else(bad)?;
    if sealed == seal(last, listing) { Ok(last.to_owned()) } else { Err(bad()) }
}

/// Makes forged tokens and tokens of another listing recognisable.
fn seal(last: &str, listing: &str) -> String {
    let digest = hex::encode(Sha256::digest(format!("{listing} after {last}")));
    digest.get(..16).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(max: Option<u32>, token: Option<String>) -> Result<Listing<u32>, AwsError> {
        let call = Describe { max_results: max, next_token: token, ..Describe::default() };
        cut((10..23).collect(), ToString::to_string, &call, "volume")
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let first = page(Some(5), None).unwrap();
        let second = page(Some(5), first.next_token).unwrap();
        let third = page(Some(5), second.next_token).unwrap();
        assert_eq!((first.items, second.items), ((10..15).collect(), (15..20).collect()));
        assert_eq!((third.items, third.next_token), ((20..23).collect(), None));
    }

    #[test]
    fn made_up_tokens_and_tiny_pages_are_refused() {
        for token in ["", "x", "00", &"ab".repeat(40)] {
            let error = page(None, Some(token.to_owned())).unwrap_err();
            assert_eq!(error.code, "InvalidPaginationToken", "{token}");
        }
        assert_eq!(page(Some(4), None).unwrap_err().code, "InvalidParameterValue");
        assert_eq!(page(Some(9_999), None).unwrap().items.len(), 13);
    }
}
