//! A value whose readers lag behind its writers.

use std::collections::VecDeque;

use super::Millis;

/// The versions of a value that some reader may still see, oldest first, the truth last.
#[derive(Debug, Clone)]
pub(crate) struct Lagged<T> {
    old: VecDeque<(Millis, T)>,
    visible_at: Millis,
    truth: T,
}

impl<T: Clone> Lagged<T> {
    /// A new value; readers see it from `visible_at` on and nothing before.
    pub(crate) fn new(truth: T, visible_at: Millis) -> Self {
        Self { old: VecDeque::new(), visible_at, truth }
    }

    pub(crate) fn truth(&self) -> &T {
        &self.truth
    }

    /// From when on readers see the truth.
    pub(crate) fn visible_at(&self) -> Millis {
        self.visible_at
    }

    /// Changes the value; readers see the change after `lag`, never before an earlier one.
    pub(crate) fn write(&mut self, now: Millis, lag: Millis, change: impl FnOnce(&mut T)) {
        let before = self.truth.clone();
        change(&mut self.truth);
        self.old.push_back((self.visible_at, before));
        self.visible_at = self.visible_at.max(now.saturating_add(lag));
        while self.old.get(1).map_or(self.visible_at, |(at, _)| *at) <= now
            && self.old.pop_front().is_some()
        {}
    }

    /// What a reader sees; `None` while the value is too young to be seen.
    pub(crate) fn seen(&self, now: Millis) -> Option<&T> {
        if self.visible_at <= now {
            return Some(&self.truth);
        }
        self.old.iter().rev().find(|(at, _)| *at <= now).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_see_nothing_then_the_old_and_then_the_new_value() {
        let mut value = Lagged::new("a", 10);
        assert_eq!(value.seen(9), None);
        value.write(12, 5, |v| *v = "b");
        assert_eq!(value.truth(), &"b");
        assert_eq!((value.seen(16), value.seen(17)), (Some(&"a"), Some(&"b")));
    }

    #[test]
    fn a_later_write_is_never_seen_before_an_earlier_one() {
        let mut value = Lagged::new(1, 0);
        value.write(0, 100, |v| *v = 2);
        value.write(1, 0, |v| *v = 3);
        assert_eq!((value.seen(99), value.seen(100)), (Some(&1), Some(&3)));
    }

    #[test]
    fn versions_nobody_can_see_any_more_are_dropped() {
        let mut value = Lagged::new(0, 0);
        for now in 1..100 {
            value.write(now, 3, |v| *v += 1);
        }
        assert!(value.old.len() <= 5, "{}", value.old.len());
    }
}
