//! Templates in the values of tags: the part of Go's `text/template` that tags need, since classes
//! written for other drivers carry such templates. A value is text with actions in `{{ }}`; an
//! action is a pipeline, `{{ .PVCNamespace | toUpper | substring 0 3 }}`, of
//!
//! - variables: `.PVCName`;
//! - literals: `"text"`, `` `text` ``, `-1`;
//! - the functions of [`FUNCTIONS`], whose last argument may come through the pipe;
//! - pipelines in parentheses.
//!
//! `{{-` and `-}}` trim white space, `{{/* */}}` is a comment. All else, such as `if` or `range`,
//! is refused by name.

mod function;
mod parse;

use function::Function;

/// The functions that templates may call, with their arguments.
pub const FUNCTIONS: &[(&str, &str)] = &[
    ("field", "field DELIMITER INDEX TEXT: a part of TEXT split at DELIMITER, the first is 0"),
    (
        "substring",
        "substring START END TEXT: bytes of TEXT; a START below 0 is the beginning, an END below 0 or too large the end",
    ),
    ("toUpper", "toUpper TEXT"),
    ("toLower", "toLower TEXT"),
    ("contains", "contains PART TEXT: true or false"),
    ("index", "index PART TEXT: where PART first begins, in bytes; -1 if it does not"),
    ("lastIndex", "lastIndex PART TEXT: where PART last begins"),
    ("len", "len TEXT: its length in bytes"),
];

/// The variables of a volume's tags.
pub const VOLUME_VARIABLES: Names = ["PVCName", "PVCNamespace", "PVName"];
/// The variables of a snapshot's tags.
pub const SNAPSHOT_VARIABLES: Names =
    ["VolumeSnapshotName", "VolumeSnapshotNamespace", "VolumeSnapshotContentName"];

/// Names of variables, and what they stand for in the same order. One that nobody has set is
/// empty, since the sidecars tell names only if they are asked to.
pub type Names = [&'static str; 3];
/// See [`Names`].
pub type Values<'a> = [Option<&'a str>; 3];

/// Why a template has no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It is not written as templates are.
    #[error("{0}")]
    Syntax(String),
    /// It uses something of Go's templates that is not supported.
    #[error("{what} is not supported in templates")]
    Unsupported {
        /// What it uses.
        what: String,
    },
    /// A function or a variable that there is not.
    #[error("{name} is not known in templates; known are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// What there is.
        known: String,
    },
    /// A function with wrong arguments.
    #[error("{function}: {rule}")]
    Arguments {
        /// The function.
        function: &'static str,
        /// The rule that they break.
        rule: String,
    },
}

/// A template that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Action(Pipeline),
}

/// Commands, each of which gives its value to the next. Never empty.
type Pipeline = Vec<Command>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Command {
    Value(Operand),
    Call(Function, Vec<Operand>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operand {
    /// Its place among the names.
    Variable(usize),
    Text(String),
    Number(i64),
    Pipeline(Pipeline),
}

/// What a pipeline comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
}

impl Template {
    /// Reads a template with these variables.
    ///
    /// # Errors
    /// What in it is wrong or not supported.
    pub fn parse(text: &str, names: Names) -> Result<Self, TemplateError> {
        parse::template(text, names).map(Self)
    }

    /// The text for these variables.
    ///
    /// # Errors
    /// Wrong arguments.
    pub fn render(&self, values: Values<'_>) -> Result<String, TemplateError> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Action(pipeline) => match evaluate(pipeline, values)? {
                    Value::Text(part) => text.push_str(&part),
                    Value::Number(number) => text.push_str(&number.to_string()),
                    Value::Flag(flag) => text.push_str(if flag { "true" } else { "false" }),
                },
            }
        }
        Ok(text)
    }
}

fn evaluate(pipeline: &Pipeline, values: Values<'_>) -> Result<Value, TemplateError> {
    let mut piped = None;
    for command in pipeline {
        piped = Some(match command {
            Command::Value(operand) => operand.value(values)?,
            Command::Call(function, operands) => {
                let arguments = operands.iter().map(|operand| operand.value(values));
                let mut arguments = arguments.collect::<Result<Vec<_>, _>>()?;
                arguments.extend(piped);
                function.call(&arguments)?
            }
        });
    }
    piped.ok_or_else(|| TemplateError::Syntax("{{ }} is empty".to_owned()))
}

impl Operand {
    fn value(&self, values: Values<'_>) -> Result<Value, TemplateError> {
        match self {
            Self::Text(text) => Ok(Value::Text(text.clone())),
            Self::Number(number) => Ok(Value::Number(*number)),
            Self::Pipeline(pipeline) => evaluate(pipeline, values),
            Self::Variable(place) => {
                let value = values.get(*place).copied().flatten().unwrap_or_default();
                Ok(Value::Text(value.to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
