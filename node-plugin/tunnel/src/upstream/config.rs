//! The settings of one tunnel: the few lines of `key = value` in the section of the service.

use std::collections::BTreeMap;

/// Values by key, of all sections: no key stands in two of them with another meaning.
pub(super) fn parse(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect()
}
