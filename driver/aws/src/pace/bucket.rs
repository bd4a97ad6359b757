//! What we believe about EC2's token bucket of one action. A pure state machine: no clock, no
//! tasks; [`super`] holds the queue.
//!
//! Until EC2 refuses a call, only the number of calls in flight is bounded, so that a raised quota
//! pays off at once; with each call that EC2 takes, one more may be in flight. From the first refusal on, the bucket is mirrored: burst and refill as
//! documented, the level as counted here. The rate is then raised by a tenth while EC2 takes
//! everything and lowered when it does not.

use std::time::Duration;

use tokio::time::Instant;

/// Calls in flight at most. Sixteen at EC2's 15 to 300 ms each are far above any default quota, and
/// a hundred calls at once wait a tenth of a second for their turn at most.
const IN_FLIGHT: usize = 16;
/// Calls in flight at first: others of the account may have emptied the bucket.
const IN_FLIGHT_AT_FIRST: usize = 8;
/// Calls in flight when the documented burst is used up: each of them may be refused. Those that
/// are not tell of a raised quota.
const IN_FLIGHT_BEYOND_BURST: usize = 4;
/// Tokens left to EC2 after a refusal. Calls at exactly the refill rate would otherwise meet an
/// empty bucket as soon as one is a millisecond late and the next is not.
const CUSHION: f64 = 2.0;
/// First time without refusal after which the rate is raised.
const QUIET: Duration = Duration::from_secs(20);
/// Shortest such time, after raises that EC2 took.
const QUIET_MIN: Duration = Duration::from_secs(5);
/// Longest such time, after raises that EC2 refused.
const QUIET_MAX: Duration = Duration::from_mins(5);
/// Factor of a raise, and of a cut when EC2 refuses a rate that it took before.
const STEP: f64 = 1.1;
/// Lowest rate, in calls per second. Others of the account may use the same bucket.
const RATE_MIN: f64 = 0.2;
/// Longest wait after refusals in a row.
const PAUSE_MAX: f64 = 10.0;
/// After this long without a refusal the mirror is given up: quotas may have been raised.
const FORGET: Duration = Duration::from_mins(10);

/// When the next call may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Now.
    Go,
    /// At that time, if nothing changes.
    At(Instant),
    /// When a call in flight has landed.
    AfterLanding,
}

/// A mirror of EC2's bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    burst: f64,
    refill: f64,
    rate: f64,
    level: f64,
    counted: Instant,
    /// Calls that may be in flight.
    window: usize,
    /// Since when the window grows with the calls that were sent later and taken.
    opens: Instant,
    paced: Option<Paced>,
}

/// What is known since the first refusal.
#[derive(Debug)]
struct Paced {
    /// Refusals of calls sent before this are echoes of a refusal already answered.
    slowed: Instant,
    refusals_in_a_row: u32,
    /// The rate before the last raise, while it is on trial.
    raised_from: Option<f64>,
    quiet: Duration,
    next_raise: Instant,
}

impl Bucket {
    /// A full bucket of `burst` tokens with `refill` tokens per second.
    pub(super) fn new(burst: f64, refill: f64, now: Instant) -> Self {
        let window = IN_FLIGHT_AT_FIRST;
        let (level, rate, counted, opens) = (burst, refill, now, now);
        Self { burst, refill, rate, level, counted, window, opens, paced: None }
    }

    /// Whether a call may start while `in_flight` others are under way.
    pub(super) fn turn(&mut self, now: Instant, in_flight: usize) -> Turn {
        self.count(now);
        self.forget(now);
        if in_flight >= self.window {
            return Turn::AfterLanding;
        }
        let Some(paced) = &mut self.paced else { return Turn::Go };
        if self.level >= 1.0 {
            return Turn::Go;
        }
        // Only here is the rate what holds calls back, so only here may it be raised.
        if now >= paced.next_raise {
            if paced.raised_from.is_some() {
                paced.quiet = (paced.quiet / 2).max(QUIET_MIN);
            }
            paced.raised_from = Some(self.rate);
            paced.next_raise = now + paced.quiet;
            self.rate *= STEP;
        }
        // A little late, never early: timers tick in milliseconds, levels are fractions.
        let wait = Duration::from_secs_f64((1.0 - self.level) / self.rate);
        Turn::At(now + wait + Duration::from_millis(1))
    }

    /// A call started.
    pub(super) fn sent(&mut self, now: Instant) {
        self.count(now);
        let had_token = self.level >= 1.0;
        self.level -= 1.0;
        if self.paced.is_none() {
            self.level = self.level.max(0.0);
            if had_token && self.level < 1.0 {
                self.window = IN_FLIGHT_BEYOND_BURST;
                // This call is the burst's last.
                self.opens = now + Duration::from_nanos(1);
            }
        }
    }

    /// EC2 took a call that was sent at `sent`, whatever it then answered.
    pub(super) fn accepted(&mut self, sent: Instant) {
        if sent >= self.opens {
            self.window = (self.window + 1).min(IN_FLIGHT);
        }
        if let Some(paced) = &mut self.paced {
            paced.refusals_in_a_row = 0;
        }
    }

    /// EC2 refused a call that was sent at `sent`.
    pub(super) fn refused(&mut self, sent: Instant, now: Instant) {
        self.count(now);
        (self.window, self.opens) = (IN_FLIGHT_AT_FIRST, now);
        let paced = self.paced.get_or_insert_with(|| Paced {
            slowed: now,
            refusals_in_a_row: 0,
            raised_from: None,
            quiet: QUIET,
            next_raise: now + QUIET,
        });
        let is_echo = sent <= paced.slowed;
        if !is_echo {
            match paced.raised_from.take() {
                Some(before) => {
                    self.rate = before;
                    paced.quiet = (paced.quiet * 2).min(QUIET_MAX);
                }
                None => self.rate = (self.rate / STEP).max(RATE_MIN),
            }
            paced.refusals_in_a_row = paced.refusals_in_a_row.saturating_add(1);
            paced.slowed = now;
            paced.next_raise = now + paced.quiet;
        }
        let doublings = paced.refusals_in_a_row.saturating_sub(1).min(6);
        let debt = (CUSHION * f64::from(1 << doublings)).min(PAUSE_MAX * self.rate);
        self.level = self.level.min(-debt);
    }

    fn count(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.counted).as_secs_f64();
        self.level = (self.level + passed * self.rate).min(self.burst);
        self.counted = now;
    }

    fn forget(&mut self, now: Instant) {
        let is_full = self.level >= self.burst;
        if is_full && self.paced.as_ref().is_some_and(|paced| now > paced.slowed + FORGET) {
            *self = Self::new(self.burst, self.refill, now);
        }
    }
}
