//! What runs came to, in figures.

use std::collections::BTreeMap;
use std::fmt;

/// Counts of a run, or of several.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Figures {
    pub(crate) calls: u64,
    pub(crate) kills: u64,
    pub(crate) abandoned: u64,
    pub(crate) faults_struck: u64,
    pub(crate) troubles_struck: u64,
    pub(crate) aws_calls: u64,
    pub(crate) checks: u64,
    /// Of the world's time.
    pub(crate) seconds: u64,
    /// Answers by verb and code.
    pub(crate) answers: BTreeMap<(&'static str, String), u64>,
}

impl Figures {
    pub(crate) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.kills += other.kills;
        self.abandoned += other.abandoned;
        self.faults_struck += other.faults_struck;
        self.troubles_struck += other.troubles_struck;
        self.aws_calls += other.aws_calls;
        self.checks += other.checks;
        self.seconds += other.seconds;
        for (answer, count) in &other.answers {
            *self.answers.entry(answer.clone()).or_default() += count;
        }
    }

    /// The answers, one line for each verb.
    pub(crate) fn answers(&self) -> String {
        let mut verbs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for ((verb, code), count) in &self.answers {
            verbs.entry(verb).or_default().push(format!("{code} {count}"));
        }
        let lines = verbs.iter().map(|(verb, codes)| format!("{verb}: {}", codes.join(", ")));
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} steps, {} abandoned, {} kills, {} faults and {} troubles struck, {} AWS calls, \
             {} checks, {} h of the world's time",
            self.calls,
            self.abandoned,
            self.kills,
            self.faults_struck,
            self.troubles_struck,
            self.aws_calls,
            self.checks,
            self.seconds / 3_600
        )
    }
}
