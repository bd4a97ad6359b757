//! Reads templates.

use super::function::Function;
use super::{Command, FUNCTIONS, Names, Operand, Part, Pipeline, TemplateError};

/// More parentheses within each other than anybody writes, so that reading needs little stack.
const DEEPEST: u32 = 16;

/// Words of Go's templates that are not functions.
const KEYWORDS: [&str; 10] =
    ["if", "else", "end", "range", "with", "define", "template", "block", "break", "continue"];
/// Functions and constants of Go's templates that are not supported here.
const OTHERS: [&str; 20] = [
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "print", "printf", "println", "slice",
    "html", "js", "call", "urlquery", "true", "false", "nil",
];

pub(super) fn template(text: &str, names: Names) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = text;
    let mut trim_start = false;
    loop {
        let (mut before, after) = match rest.split_once("{{") {
            None => (rest, None),
            Some((before, after)) => (before, Some(after)),
        };
        if trim_start {
            before = before.trim_start_matches(is_space);
        }
        let after = after.map(|after| trimmed(after).map_or((after, false), |after| (after, true)));
        if after.is_some_and(|(_, trim_end)| trim_end) {
            before = before.trim_end_matches(is_space);
        }
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        let Some((after, _)) = after else { return Ok(parts) };
        let mut reader = Reader { rest: after, depth: 0, names };
        if !reader.comment()? {
            parts.push(Part::Action(reader.pipeline()?));
        }
        (rest, trim_start) = reader.close()?;
    }
}

/// What follows a `- ` that trims white space.
fn trimmed(text: &str) -> Option<&str> {
    text.strip_prefix('-').filter(|rest| rest.starts_with(is_space))
}

/// Go's white space in templates.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn syntax<T>(rule: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError::Syntax(rule.into()))
}

/// Reads what stands between `{{` and `}}`.
struct Reader<'a> {
    rest: &'a str,
    depth: u32,
    names: Names,
}

impl<'a> Reader<'a> {
    fn skip_space(&mut self) -> bool {
        let before = self.rest.len();
        self.rest = self.rest.trim_start_matches(is_space);
        self.rest.len() != before
    }

    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn comment(&mut self) -> Result<bool, TemplateError> {
        let Some(inside) = self.rest.trim_start_matches(is_space).strip_prefix("/*") else {
            return Ok(false);
        };
        match inside.split_once("*/") {
            None => syntax("a comment has no end"),
            Some((_, rest)) => {
                self.rest = rest;
                Ok(true)
            }
        }
    }

    /// The end of an action: what follows it, and whether white space is trimmed there.
    fn close(&mut self) -> Result<(&'a str, bool), TemplateError> {
        let spaced = self.skip_space();
        match self.rest.strip_prefix("}}") {
            Some(rest) => Ok((rest, false)),
            None => match self.rest.strip_prefix("-}}") {
                Some(rest) if spaced => Ok((rest, true)),
                _ if self.rest.is_empty() => syntax("{{ has no }}"),
                _ => syntax(format!("unexpected {:?} in {{{{ }}}}", first(self.rest))),
            },
        }
    }

    fn pipeline(&mut self) -> Result<Pipeline, TemplateError> {
        let mut commands = Vec::new();
        loop {
            commands.push(self.command(commands.is_empty())?);
            // Space stays, since a `-}}` needs it before it.
            match self.rest.trim_start_matches(is_space).strip_prefix('|') {
                Some(rest) => self.rest = rest,
                None => return Ok(commands),
            }
        }
    }

    fn command(&mut self, is_first: bool) -> Result<Command, TemplateError> {
        self.skip_space();
        let function = self.word().map(function).transpose()?;
        let mut operands = Vec::new();
        while !self.at_end_of_command() {
            let spaced = self.skip_space();
            if !spaced && (function.is_some() || !operands.is_empty()) {
                return syntax(format!("a space is missing before {:?}", first(self.rest)));
            }
            operands.push(self.operand()?);
        }
        match (function, operands.pop()) {
            (Some(function), last) => {
                operands.extend(last);
                Ok(Command::Call(function, operands))
            }
            (None, Some(value)) if operands.is_empty() && is_first => Ok(Command::Value(value)),
            (None, Some(_)) if operands.is_empty() => syntax("only functions can follow a |"),
            (None, Some(_)) => syntax("only functions take arguments"),
            (None, None) => syntax("a value or a function is missing"),
        }
    }

    fn at_end_of_command(&self) -> bool {
        let rest = self.rest.trim_start_matches(is_space);
        rest.is_empty()
            || rest.starts_with('|')
            || rest.starts_with(')')
            || rest.starts_with("}}")
            || rest.starts_with("-}}")
    }

    /// A name of Go, if one comes next.
    fn word(&mut self) -> Option<&'a str> {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let starts = self.rest.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).filter(|_| starts)?;
        self.rest = rest;
        Some(word)
    }

    fn operand(&mut self) -> Result<Operand, TemplateError> {
        let Some(c) = self.rest.chars().next() else { return syntax("{{ has no }}") };
        match c {
            '.' => {
                self.eat(".");
                let Some(name) = self.word() else { return unsupported("a lone .") };
                if self.rest.starts_with('.') {
                    return unsupported("a field of a variable");
                }
                self.variable(name)
            }
            '"' => self.quoted(),
            '`' => match self.rest.get(1..).and_then(|inside| inside.split_once('`')) {
                None => syntax("a text has no closing `"),
                Some((text, rest)) => {
                    self.rest = rest;
                    Ok(Operand::Text(text.to_owned()))
                }
            },
            '(' => self.parentheses(),
            '0'..='9' | '-' | '+' => self.number(),
            '$' => unsupported("a variable of one's own ($)"),
            '\'' => unsupported("a single character in '"),
            _ => match self.word() {
                Some(word) => {
                    let function = function(word)?;
                    Ok(Operand::Pipeline(vec![Command::Call(function, Vec::new())]))
                }
                None => syntax(format!("unexpected {c:?} in {{{{ }}}}")),
            },
        }
    }

    fn variable(&self, name: &str) -> Result<Operand, TemplateError> {
        match self.names.iter().position(|known| *known == name) {
            Some(place) => Ok(Operand::Variable(place)),
            None => Err(TemplateError::Unknown {
                name: format!(".{name}"),
                known: self.names.map(|known| format!(".{known}")).join(", "),
            }),
        }
    }

    fn parentheses(&mut self) -> Result<Operand, TemplateError> {
        self.eat("(");
        self.depth += 1;
        if self.depth > DEEPEST {
            return syntax(format!("more than {DEEPEST} parentheses within each other"));
        }
        let pipeline = self.pipeline()?;
        self.depth -= 1;
        self.skip_space();
        if !self.eat(")") {
            return syntax("( has no )");
        }
        if self.rest.starts_with('.') {
            return unsupported("a field of a value");
        }
        Ok(Operand::Pipeline(pipeline))
    }

    fn number(&mut self) -> Result<Operand, TemplateError> {
        let is_end = |c: char| is_space(c) || matches!(c, '|' | '(' | ')' | '}');
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        // Go reads a leading zero as octal.
        let octal = number.trim_start_matches(['-', '+']);
        let octal = octal.len() > 1 && octal.starts_with('0');
        match number.parse() {
            Ok(number) if !octal => Ok(Operand::Number(number)),
            _ => syntax(format!("{number:?} is not a whole decimal number")),
        }
    }

    fn quoted(&mut self) -> Result<Operand, TemplateError> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    return Ok(Operand::Text(text));
                }
                '\n' => break,
                '\\' => text.push(match chars.next() {
                    Some((_, c @ ('"' | '\\'))) => c,
                    Some((_, 'n')) => '\n',
                    Some((_, 't')) => '\t',
                    Some((_, 'r')) => '\r',
                    Some((_, c)) => return unsupported(&format!("\\{c} in a text")),
                    None => break,
                }),
                c => text.push(c),
            }
        }
        syntax("a text has no closing \"")
    }
}

fn function(word: &str) -> Result<Function, TemplateError> {
    if let Some(function) = Function::named(word) {
        return Ok(function);
    }
    if KEYWORDS.contains(&word) || OTHERS.contains(&word) {
        return unsupported(word);
    }
    let known: Vec<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
    Err(TemplateError::Unknown { name: word.to_owned(), known: known.join(", ") })
}

fn unsupported<T>(what: &str) -> Result<T, TemplateError> {
    Err(TemplateError::Unsupported { what: what.to_owned() })
}

fn first(text: &str) -> String {
    text.chars().take(1).collect()
}
