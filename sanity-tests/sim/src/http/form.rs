//! Parameters of the Query protocol, `Filter.1.Value.2=…`.
//! Source: EC2 API reference, "Query requests".

use std::collections::{BTreeMap, BTreeSet};

use csi_core::ebs::Tags;
use percent_encoding::percent_decode_str;

use crate::world::AwsError;
use crate::world::call::{Describe, Filter};

/// The parameters of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads `application/x-www-form-urlencoded`.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, AwsError> {
        let broken = |_error| AwsError::new("MalformedQueryString", "The request is not UTF-8.");
        let text = std::str::from_utf8(body).map_err(broken)?;
        let mut fields = BTreeMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| {
                let spaced = text.replace('+', " ");
                let decoded = percent_decode_str(&spaced).decode_utf8().map_err(broken)?;
                Ok::<_, AwsError>(decoded.into_owned())
            };
            fields.insert(decode(name)?, decode(value)?);
        }
        Ok(Self(fields))
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    pub(crate) fn required(&self, name: &str) -> Result<String, AwsError> {
        self.text(name).ok_or_else(|| AwsError::missing(name))
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u32>, AwsError> {
        self.0.get(name).map(|text| text.parse().map_err(|_e| wrong(name, text))).transpose()
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, AwsError> {
        match self.0.get(name).map(String::as_str) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(text) => Err(wrong(name, text)),
        }
    }

    /// The members of a list, `VolumeId.1`, `VolumeId.2`, …, in the order of their numbers.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let numbers = self.numbers(name);
        numbers.iter().filter_map(|n| self.text(&format!("{name}.{n}"))).collect()
    }

    /// The numbers that a list's members or their fields have.
    fn numbers(&self, name: &str) -> BTreeSet<u32> {
        let prefix = format!("{name}.");
        let rest = self.0.keys().filter_map(|key| key.strip_prefix(&prefix));
        rest.filter_map(|rest| rest.split('.').next()?.parse().ok()).collect()
    }

    /// `Tag.N.Key`, `Tag.N.Value`.
    pub(crate) fn pairs(&self, name: &str) -> Vec<(String, Option<String>)> {
        let numbers = self.numbers(name);
        numbers
            .iter()
            .filter_map(|n| {
                let key = self.text(&format!("{name}.{n}.Key"))?;
                Some((key, self.text(&format!("{name}.{n}.Value"))))
            })
            .collect()
    }

    /// The tags that `TagSpecification` gives to a new resource.
    pub(crate) fn tags_for(&self, resource: &str) -> Result<Tags, AwsError> {
        let mut tags = Tags::new();
        for n in self.numbers("TagSpecification") {
            let prefix = format!("TagSpecification.{n}");
            let for_what = self.text(&format!("{prefix}.ResourceType")).unwrap_or_default();
            if for_what != resource {
                return Err(AwsError::value(format!(
                    "'{for_what}' is not a valid taggable resource type for this operation."
                )));
            }
            for (key, value) in self.pairs(&format!("{prefix}.Tag")) {
                if tags.insert(key.clone(), value.unwrap_or_default()).is_some() {
                    return Err(AwsError::value(format!(
                        "Duplicate tag keys found. Please note that Tag keys are case \
                         insensitive: {key}"
                    )));
                }
            }
        }
        Ok(tags)
    }

    /// What all Describe calls share; `ids` names their list of ids.
    pub(crate) fn describe(&self, ids: &str) -> Result<Describe, AwsError> {
        let filters = self
            .numbers("Filter")
            .iter()
            .map(|n| {
                Ok(Filter {
                    name: self.required(&format!("Filter.{n}.Name"))?,
                    values: self.list(&format!("Filter.{n}.Value")),
                })
            })
            .collect::<Result<_, AwsError>>()?;
        Ok(Describe {
            ids: self.list(ids),
            filters,
            max_results: self.number("MaxResults")?,
            next_token: self.text("NextToken"),
        })
    }

    /// Refuses parameters outside this list (each with its members), as EC2 does.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), AwsError> {
        const ALWAYS: [&str; 3] = ["Action", "Version", "DryRun"];
        let top = |key: &str| key.split('.').next().unwrap_or_default().to_owned();
        match self
            .0
            .keys()
            .map(|key| top(key))
            .find(|key| !ALWAYS.contains(&key.as_str()) && !known.contains(&key.as_str()))
        {
            None => Ok(()),
            Some(key) => Err(AwsError::new(
                "UnknownParameter",
                format!("The parameter {key} is not recognized"),
            )),
        }
    }

    /// What the call is about, in a few words for the history.
    pub(crate) fn subject(&self) -> String {
        const QUIET: [&str; 5] =
            ["Action", "Version", "ClientToken", "ExternalId", "WebIdentityToken"];
        let shown = self.0.iter().filter(|(key, _)| !QUIET.contains(&key.as_str()));
        let words: Vec<_> = shown.map(|(key, value)| format!("{key}={value}")).collect();
        words.join(" ").chars().take(300).collect()
    }
}

fn wrong(name: &str, text: &str) -> AwsError {
    AwsError::value(format!("Value ({text}) for parameter {name} is invalid."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::NON_ALPHANUMERIC;
    use proptest::prelude::*;

    fn form(text: &str) -> Form {
        Form::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn lists_keep_the_order_of_their_numbers() {
        let form = form("VolumeId.10=c&VolumeId.2=b&VolumeId.1=a&VolumeIdX.1=z");
        assert_eq!(form.list("VolumeId"), ["a", "b", "c"]);
    }

    #[test]
    fn filters_and_tags_are_read() {
        let form = form(
            "Filter.1.Name=tag%3ACSIVolumeName&Filter.1.Value.1=a+b&Filter.1.Value.2=c&\
             TagSpecification.1.ResourceType=volume&TagSpecification.1.Tag.1.Key=k&\
             TagSpecification.1.Tag.1.Value=v%2Fw",
        );
        let describe = form.describe("VolumeId").unwrap();
        let filter = describe.filters.first().unwrap();
        assert_eq!((filter.name.as_str(), filter.values.len()), ("tag:CSIVolumeName", 2));
        assert_eq!(filter.values.first().map(String::as_str), Some("a b"));
        assert_eq!(form.tags_for("volume").unwrap().get("k").map(String::as_str), Some("v/w"));
        assert!(form.tags_for("snapshot").is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(form) = Form::parse(&body) {
                let _ = form.describe("VolumeId");
                let _ = form.tags_for("volume");
                prop_assert!(form.subject().chars().count() <= 300);
            }
        }

        #[test]
        fn values_come_through_as_they_were_sent(value in ".*") {
            let encoded = percent_encoding::utf8_percent_encode(&value, NON_ALPHANUMERIC);
            let form = form(&format!("A={encoded}"));
            prop_assert_eq!(form.text("A"), Some(value));
        }
    }

    #[test]
    fn unknown_parameters_and_wrong_numbers_are_refused() {
        let form = form("Action=CreateVolume&Size=ten&Colour.1=red");
        assert_eq!(form.number("Size").unwrap_err().code, "InvalidParameterValue");
        assert_eq!(form.only(&["Size"]).unwrap_err().code, "UnknownParameter");
        form.only(&["Size", "Colour"]).unwrap();
    }
}
