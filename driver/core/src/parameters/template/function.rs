//! The functions of templates. Positions count bytes, as in Go.

use super::{FUNCTIONS, TemplateError, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Field,
    Substring,
    ToUpper,
    ToLower,
    Contains,
    Index,
    LastIndex,
    Len,
}

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "field" => Self::Field,
            "substring" => Self::Substring,
            "toUpper" => Self::ToUpper,
            "toLower" => Self::ToLower,
            "contains" => Self::Contains,
            "index" => Self::Index,
            "lastIndex" => Self::LastIndex,
            "len" => Self::Len,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Field => "field",
            Self::Substring => "substring",
            Self::ToUpper => "toUpper",
            Self::ToLower => "toLower",
            Self::Contains => "contains",
            Self::Index => "index",
            Self::LastIndex => "lastIndex",
            Self::Len => "len",
        }
    }

    pub(super) fn call(self, values: &[Value]) -> Result<Value, TemplateError> {
        use Value::{Flag, Number, Text};
        match (self, values) {
            (Self::Field, [Text(delimiter), Number(at), Text(text)]) => {
                self.field(delimiter, *at, text)
            }
            (Self::Substring, [Number(start), Number(end), Text(text)]) => {
                self.substring(*start, *end, text)
            }
            (Self::ToUpper, [Text(text)]) => Ok(Text(text.to_uppercase())),
            (Self::ToLower, [Text(text)]) => Ok(Text(text.to_lowercase())),
            (Self::Contains, [Text(part), Text(text)]) => Ok(Flag(text.contains(part.as_str()))),
            (Self::Index, [Text(part), Text(text)]) => Ok(place(text.find(part.as_str()))),
            (Self::LastIndex, [Text(part), Text(text)]) => Ok(place(text.rfind(part.as_str()))),
            (Self::Len, [Text(text)]) => Ok(place(Some(text.len()))),
            _ => self.refuse(format!("takes {}", self.usage())),
        }
    }

    fn usage(self) -> &'static str {
        let known = FUNCTIONS.iter().find(|(name, _)| *name == self.name());
        known.map_or("other arguments", |(_, usage)| *usage)
    }

    fn refuse<T>(self, rule: String) -> Result<T, TemplateError> {
        Err(TemplateError::Arguments { function: self.name(), rule })
    }

    fn field(self, delimiter: &str, at: i64, text: &str) -> Result<Value, TemplateError> {
        let parts: Vec<String> = if delimiter.is_empty() {
            text.chars().map(String::from).collect()
        } else {
            text.split(delimiter).map(str::to_owned).collect()
        };
        match usize::try_from(at).ok().and_then(|at| parts.get(at)) {
            Some(part) => Ok(Value::Text(part.clone())),
            None => self.refuse(format!("{text:?} has {} fields, there is no {at}", parts.len())),
        }
    }

    fn substring(self, start: i64, end: i64, text: &str) -> Result<Value, TemplateError> {
        let from = usize::try_from(start).unwrap_or(0);
        let to = usize::try_from(end).map_or(text.len(), |end| end.min(text.len()));
        // Also refuses what would cut a character in two.
        match text.get(from..to) {
            Some(part) => Ok(Value::Text(part.to_owned())),
            None => self.refuse(format!("{text:?} has no part from {start} to {end}")),
        }
    }
}

fn place(found: Option<usize>) -> Value {
    Value::Number(found.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1))
}
