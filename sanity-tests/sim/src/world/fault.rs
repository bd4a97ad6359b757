//! Faults by script: what goes wrong with which call, and whether it did go wrong.

use serde::{Deserialize, Serialize};

use super::error::AwsError;
use super::{Action, Millis};

/// A scripted fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The action it strikes; any if absent.
    #[serde(default)]
    pub action: Option<Action>,
    /// Which of the action's calls, counted from when the fault was scripted.
    #[serde(default)]
    pub when: When,
    /// What happens.
    pub fault: FaultKind,
}

/// Which calls a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// The next one, once.
    #[default]
    Next,
    /// The n-th one (from 1), once.
    Nth(u64),
    /// The next n.
    Times(u64),
    /// Every n-th one, for ever.
    Every(u64),
}

/// What a fault does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// Answers this code; nothing happens.
    FailBefore {
        /// AWS's code.
        code: String,
        /// Its message.
        #[serde(default)]
        message: String,
    },
    /// The call takes effect, but answers this code.
    FailAfter {
        /// AWS's code, such as `InternalError`.
        code: String,
        /// Its message.
        #[serde(default)]
        message: String,
    },
    /// The connection drops before the call takes effect.
    LoseCall,
    /// The call takes effect, then the connection drops.
    LoseReply,
    /// The call waits so many milliseconds before it takes effect.
    DelayMs(u64),
    /// No effect and never an answer.
    HangBefore,
    /// The call takes effect, but never answers.
    HangAfter,
    /// `RequestLimitExceeded`, or what the action's service calls it.
    Throttle,
}

/// A fault with what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultReport {
    /// The fault as scripted.
    #[serde(flatten)]
    pub fault: Fault,
    /// Calls of its action since.
    pub calls: u64,
    /// How often it struck.
    pub struck: u64,
    /// Whether it can strike again.
    pub spent: bool,
}

impl FaultReport {
    /// Whether it never struck: a test that scripted it did not test it.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.struck == 0
    }

    fn strikes(&mut self, action: Action) -> bool {
        if self.spent || self.fault.action.is_some_and(|wanted| wanted != action) {
            return false;
        }
        self.calls += 1;
        let (strikes, spent) = match self.fault.when {
            When::Next => (true, true),
            When::Nth(n) => (self.calls == n, self.calls >= n),
            When::Times(n) => (self.calls <= n, self.calls >= n),
            When::Every(n) => (n > 0 && self.calls.is_multiple_of(n), false),
        };
        self.spent = spent;
        self.struck += u64::from(strikes);
        strikes
    }
}

/// The script.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(pub(crate) Vec<FaultReport>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(FaultReport { fault, calls: 0, struck: 0, spent: false });
    }

    /// The fault of this call: of several that would strike, the first scripted one.
    pub(crate) fn strike(&mut self, action: Action) -> Option<FaultKind> {
        let mut first = None;
        for report in &mut self.0 {
            // One that waits for "the next" call waits on; one that names a number counts on.
            let waits = matches!(report.fault.when, When::Next | When::Times(_));
            if (first.is_none() || !waits) && report.strikes(action) && first.is_none() {
                first = Some(report.fault.fault.clone());
            }
        }
        first
    }
}

/// How a call begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// It takes effect.
    Proceed,
    /// It is refused.
    Refuse(AwsError),
    /// Its connection drops.
    Lose,
    /// It never answers.
    Hang,
}

/// How a call that took effect ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// With its answer.
    Answer,
    /// With this error instead.
    Fail(AwsError),
    /// With a dropped connection.
    Lose,
    /// Never.
    Hang,
}

/// What the world decides about a call before looking at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The request id.
    pub request_id: String,
    /// Milliseconds to wait first.
    pub delay_ms: Millis,
    /// How it begins.
    pub before: Before,
    /// How it ends.
    pub after: After,
}

impl Admission {
    pub(crate) fn new(action: Action, request_id: String, fault: Option<FaultKind>) -> Self {
        let error = |code: &str, message: String| AwsError::new(code, message);
        let mut this =
            Self { request_id, delay_ms: 0, before: Before::Proceed, after: After::Answer };
        match fault {
            None => {}
            Some(FaultKind::FailBefore { code, message }) => {
                this.before = Before::Refuse(error(&code, message));
            }
            Some(FaultKind::FailAfter { code, message }) => {
                this.after = After::Fail(error(&code, message));
            }
            Some(FaultKind::LoseCall) => this.before = Before::Lose,
            Some(FaultKind::LoseReply) => this.after = After::Lose,
            Some(FaultKind::DelayMs(ms)) => this.delay_ms = ms,
            Some(FaultKind::HangBefore) => this.before = Before::Hang,
            Some(FaultKind::HangAfter) => this.after = After::Hang,
            Some(FaultKind::Throttle) => {
                this.before = Before::Refuse(AwsError::throttled(action.service()));
            }
        }
        this
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(when: When) -> Faults {
        let mut faults = Faults::default();
        faults.add(Fault { action: Some(Action::AttachVolume), when, fault: FaultKind::Throttle });
        faults
    }

    fn strikes(faults: &mut Faults, calls: usize) -> Vec<bool> {
        (0..calls).map(|_| faults.strike(Action::AttachVolume).is_some()).collect()
    }

    #[test]
    fn a_fault_strikes_the_calls_it_names_and_no_other() {
        assert_eq!(strikes(&mut script(When::Next), 3), [true, false, false]);
        assert_eq!(strikes(&mut script(When::Nth(2)), 3), [false, true, false]);
        assert_eq!(strikes(&mut script(When::Times(2)), 3), [true, true, false]);
        assert_eq!(strikes(&mut script(When::Every(2)), 4), [false, true, false, true]);
        assert_eq!(script(When::Next).strike(Action::CreateVolume), None);
    }

    #[test]
    fn two_faults_for_the_next_call_strike_one_after_the_other() {
        let mut faults = script(When::Next);
        faults.add(Fault { action: None, when: When::Next, fault: FaultKind::LoseReply });
        assert_eq!(faults.strike(Action::AttachVolume), Some(FaultKind::Throttle));
        assert_eq!(faults.strike(Action::AttachVolume), Some(FaultKind::LoseReply));
        assert_eq!(faults.strike(Action::AttachVolume), None);
    }

    #[test]
    fn a_fault_that_never_struck_is_reported() {
        let mut faults = script(When::Nth(5));
        strikes(&mut faults, 2);
        let report = faults.0.first().unwrap();
        assert_eq!((report.calls, report.is_unused(), report.spent), (2, true, false));
    }
}
