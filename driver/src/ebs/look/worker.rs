//! The worker behind a looker.

use std::sync::Arc;

use super::{
    ApiError, BTreeMap, BTreeSet, Duration, ErrorKind, Instant, facts, mpsc, oneshot, sleep_until,
};
use crate::call::bounded;

/// Longest silence of a call. The port ends its calls itself, after queueing for a minute at most;
/// this keeps a port that does not from silencing everybody.
const SILENCE: Duration = Duration::from_secs(75);
/// Longest pause of a worker whose calls fail.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

pub(super) type Answer<V> = Result<Option<V>, ApiError>;

/// Somebody who wants to know.
#[derive(Debug)]
pub(super) struct Look<K, V> {
    /// About what.
    pub(super) key: K,
    /// When.
    pub(super) due: Instant,
    /// Least time since the last call.
    pub(super) gap: Duration,
    /// Whether a failed call may be made again before it is answered.
    pub(super) patient: bool,
    /// Where the answer goes.
    pub(super) reply: oneshot::Sender<Answer<V>>,
}

/// Serves looks until every looker is gone.
pub(super) async fn run<K, V, F, Fut>(mut inbox: mpsc::UnboundedReceiver<Look<K, V>>, call: F)
where
    K: Clone + Ord + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<BTreeMap<K, V>, ApiError>> + Send + 'static,
{
    let call = Arc::new(call);
    let mut pending: Vec<Look<K, V>> = Vec::new();
    let mut pace = Pace::default();
    loop {
        pending.retain(|look| !look.reply.is_closed());
        let Some(tick) = pace.next(&pending) else {
            match inbox.recv().await {
                Some(look) => pending.push(look),
                None => return,
            }
            continue;
        };
        tokio::select! {
            biased;
            () = sleep_until(tick) => {}
            look = inbox.recv() => {
                match look {
                    Some(look) => pending.push(look),
                    None => return,
                }
                continue;
            }
        }
        for looks in batches(&mut pending) {
            let begun = Instant::now();
            let keys: BTreeSet<K> = looks.iter().map(|look| look.key.clone()).collect();
            let call = Arc::clone(&call);
            // A task of its own, so that a panic in the call is not the end of the worker.
            let ask = async move { call(keys.into_iter().collect()).await };
            match tokio::spawn(bounded(Instant::now() + SILENCE, ask)).await {
                Err(_panicked) => {}
                Ok(Ok(found)) => {
                    pace.succeeded(begun);
                    for look in looks {
                        let answer = found.get(&look.key).cloned();
                        // Nobody may be waiting any more.
                        let _ = look.reply.send(Ok(answer));
                    }
                }
                Ok(Err(error)) => {
                    pace.failed();
                    pending.extend(refuse(looks, &error));
                }
            }
        }
    }
}

/// Takes what is due, filled up with what is not so that no call is half empty, in lots that fit
/// a filter.
fn batches<K: Ord, V>(pending: &mut Vec<Look<K, V>>) -> Vec<Vec<Look<K, V>>> {
    let now = Instant::now();
    pending.sort_by_key(|look| look.due);
    let due = pending.iter().take_while(|look| look.due <= now).count();
    let take = due.next_multiple_of(facts::FILTER_VALUES).min(pending.len());
    let mut rest = pending.drain(..take);
    let mut lots = Vec::new();
    loop {
        let lot: Vec<_> = rest.by_ref().take(facts::FILTER_VALUES).collect();
        if lot.is_empty() {
            return lots;
        }
        lots.push(lot);
    }
}

/// Answers a failure to those who cannot wait, or to all if waiting is no use; returns the others.
fn refuse<K, V>(looks: Vec<Look<K, V>>, error: &ApiError) -> Vec<Look<K, V>> {
    let passing = matches!(
        error.kind,
        ErrorKind::Throttled | ErrorKind::Unavailable | ErrorKind::NoAnswer | ErrorKind::Unexpected
    );
    let (patient, impatient): (Vec<_>, Vec<_>) =
        looks.into_iter().partition(|look| passing && look.patient);
    for look in impatient {
        let _ = look.reply.send(Err(error.clone()));
    }
    patient
}

/// When the next call may be made.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    failures: u32,
}

impl Pace {
    fn next<K, V>(&self, pending: &[Look<K, V>]) -> Option<Instant> {
        let due = pending.iter().map(|look| look.due).min()?;
        let gap = pending.iter().map(|look| look.gap).min()?;
        let calls = u32::try_from(pending.len().div_ceil(facts::FILTER_VALUES)).unwrap_or(1);
        let back_off = match self.failures {
            0 => Duration::ZERO,
            n => Duration::from_millis(200 << n.min(6)).min(LONGEST_BACK_OFF),
        };
        let allowed = self.last.map(|last| last + (gap * calls).max(back_off));
        Some(allowed.map_or(due, |allowed| allowed.max(due)))
    }

    /// Counted from its beginning, so that the calls of a second are as many as their distance
    /// says, whatever each takes.
    fn succeeded(&mut self, begun: Instant) {
        *self = Self { last: Some(begun), failures: 0 };
    }

    fn failed(&mut self) {
        *self = Self { last: Some(Instant::now()), failures: self.failures.saturating_add(1) };
    }
}
