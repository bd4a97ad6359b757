//! The table: figures of this driver and of the peer, the limit, the goal and whether it is met.

use std::fmt::{self, Display};
use std::time::Duration;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// MiB.
    Mebibytes,
    /// Things.
    Count,
    /// Hundredths of all.
    Percent,
}

/// One measured number.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    what: &'static str,
    unit: Unit,
    value: f64,
    limit: Option<f64>,
    goal: Option<f64>,
}

impl Figure {
    /// A figure without limit and goal.
    #[must_use]
    pub fn new(what: &'static str, unit: Unit, value: f64) -> Self {
        Self { what, unit, value, limit: None, goal: None }
    }

    /// A number of things.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub fn count(what: &'static str, value: u64) -> Self {
        Self::new(what, Unit::Count, value as f64)
    }

    /// A time in seconds.
    #[must_use]
    pub fn seconds(what: &'static str, value: Duration) -> Self {
        Self::new(what, Unit::Seconds, value.as_secs_f64())
    }

    /// A time in milliseconds.
    #[must_use]
    pub fn milliseconds(what: &'static str, value: Duration) -> Self {
        Self::new(what, Unit::Milliseconds, value.as_secs_f64() * 1_000.0)
    }

    /// The best that is possible.
    #[must_use]
    pub fn limit(self, limit: f64) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// The most that this project allows itself.
    #[must_use]
    pub fn goal(self, goal: f64) -> Self {
        Self { goal: Some(goal), ..self }
    }

    /// The goal as a multiple of the limit and an addition to it.
    #[must_use]
    pub fn goal_by_limit(self, factor: f64, addition: f64) -> Self {
        let goal = self.limit.map(|limit| limit * factor + addition);
        Self { goal, ..self }
    }

    /// What was measured.
    #[must_use]
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// Whether it is about that action.
    #[must_use]
    pub fn is_of(&self, action: &str) -> bool {
        self.what.split(' ').next() == Some(action)
    }

    /// Whether the goal is met, if there is one.
    #[must_use]
    pub fn is_met(&self) -> Option<bool> {
        // What is printed decides: the second digit after the point.
        self.goal.map(|goal| self.value <= goal + 0.005)
    }
}

/// Figures that were measured together.
#[derive(Debug, Clone)]
pub struct Group {
    /// What was done and under which conditions.
    pub title: String,
    /// This driver's figures.
    pub ours: Vec<Figure>,
    /// The peer's, if it was measured.
    pub peer: Vec<Figure>,
}

/// The head of the table.
#[must_use]
pub fn head() -> String {
    line(["", "limit", "ours", "×limit", "peer", "×limit", "×ours", "goal", ""])
}

impl Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.title)?;
        for ours in &self.ours {
            let peer = self.peer.iter().find(|peer| peer.what == ours.what);
            let number = |value: Option<f64>| value.map(|value| show(value, ours.unit));
            let over = |value: f64, base: Option<f64>| {
                base.filter(|base| *base > 0.0).map(|base| format!("{:.2}", value / base))
            };
            let verdict = match ours.is_met() {
                None => "",
                Some(true) => "met",
                Some(false) => "MISSED",
            };
            let cells = [
                Some(format!("  {}", ours.what)),
                number(ours.limit),
                number(Some(ours.value)),
                over(ours.value, ours.limit),
                number(peer.map(|peer| peer.value)),
                peer.and_then(|peer| over(peer.value, peer.limit)),
                peer.and_then(|peer| over(peer.value, Some(ours.value))),
                number(ours.goal).map(|goal| format!("≤ {goal}")),
                Some(verdict.to_owned()),
            ];
            writeln!(f, "{}", line(cells.each_ref().map(|cell| cell.as_deref().unwrap_or("-"))))?;
        }
        Ok(())
    }
}

fn line(cells: [&str; 9]) -> String {
    let [what, limit, ours, times, peer, peer_times, peer_ours, goal, verdict] = cells;
    let text = format!(
        "{what:<32}{limit:>10}{ours:>10}{times:>8}{peer:>10}{peer_times:>8}{peer_ours:>8}{goal:>14} {verdict}"
    );
    text.trim_end().to_owned()
}

fn show(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Seconds => format!("{value:.2} s"),
        Unit::Milliseconds => format!("{value:.1} ms"),
        Unit::Mebibytes => format!("{value:.1} M"),
        Unit::Count => format!("{value:.0}"),
        Unit::Percent => format!("{value:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_limit_ratios_goal_and_verdict() {
        let figure = |seconds| Figure::new("wall", Unit::Seconds, seconds).limit(15.0);
        let group = Group {
            title: "creations".to_owned(),
            ours: vec![
                figure(15.6).goal_by_limit(1.06, 0.0),
                Figure::count("failed RPCs", 3).goal(0.0),
                Figure::count("calls", 7),
            ],
            peer: vec![figure(18.0)],
        };
        let text = group.to_string();
        let words = |n: usize| text.lines().nth(n).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(
            words(2),
            "wall 15.00 s 15.60 s 1.04 18.00 s 1.20 1.15 ≤ 15.90 s met"
                .split(' ')
                .collect::<Vec<_>>()
        );
        assert_eq!(words(3), "failed RPCs - 3 - - - - ≤ 0 MISSED".split(' ').collect::<Vec<_>>());
        assert_eq!(words(4), "calls - 7 - - - - -".split(' ').collect::<Vec<_>>());
    }
}
