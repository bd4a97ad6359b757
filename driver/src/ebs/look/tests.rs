//! Batching, pacing and patience, in paused time.

use super::*;
use std::sync::{Arc, Mutex};

type Calls = Arc<Mutex<Vec<(Instant, Vec<u32>)>>>;

/// A looker over numbers of which those below 1,000 exist; calls take 15 ms.
fn numbers(
    fail: impl Fn(usize) -> Option<ErrorKind> + Send + Sync + 'static,
) -> (Looker<u32, u32>, Calls) {
    let calls = Calls::default();
    let log = Arc::clone(&calls);
    let fail = Arc::new(fail);
    let looker = Looker::new("DescribeNumbers", move |keys: Vec<u32>| {
        let ordinal = {
            let mut log = log.lock().unwrap();
            log.push((Instant::now(), keys.clone()));
            log.len()
        };
        let fail = Arc::clone(&fail);
        async move {
            tokio::time::sleep(Duration::from_millis(15)).await;
            match fail(ordinal) {
                Some(kind) => Err(error(kind)),
                None => Ok(keys.into_iter().filter(|k| *k < 1_000).map(|k| (k, k)).collect()),
            }
        }
    });
    (looker, calls)
}

fn error(kind: ErrorKind) -> ApiError {
    ApiError {
        action: "DescribeNumbers",
        kind,
        code: "X".to_owned(),
        message: String::new(),
        request_id: None,
    }
}

const CADENCE: Cadence = Cadence {
    first: Duration::from_millis(900),
    step: Duration::from_millis(150),
    steady: Duration::from_secs(1),
    part: 5,
};

fn soon() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

#[tokio::test(start_paused = true)]
async fn look_ups_of_one_moment_share_a_call_and_an_unknown_key_harms_nobody() {
    let (looker, calls) = numbers(|_| None);
    let (a, b, c) = tokio::join!(looker.up(1), looker.up(2), looker.up(5_000));
    assert_eq!((a.unwrap(), b.unwrap(), c.unwrap()), (Some(1), Some(2), None));
    assert_eq!(calls.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn more_keys_than_a_filter_takes_become_several_calls() {
    let (looker, calls) = numbers(|_| None);
    let looker = Arc::new(looker);
    let tasks: Vec<_> = (0..450)
        .map(|n| {
            let looker = Arc::clone(&looker);
            tokio::spawn(async move { looker.up(n).await })
        })
        .collect();
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(task.await.unwrap().unwrap(), Some(n));
    }
    let sizes: Vec<usize> = calls.lock().unwrap().iter().map(|(_, keys)| keys.len()).collect();
    assert_eq!(sizes, [200, 200, 50]);
}

#[tokio::test(start_paused = true)]
async fn an_impatient_look_up_gets_the_failure_and_a_wait_outlives_it() {
    let (looker, _calls) = numbers(|ordinal| (ordinal < 3).then_some(ErrorKind::Throttled));
    assert_eq!(looker.up(1).await.unwrap_err().kind, ErrorKind::Throttled);
    assert_eq!(looker.until(&1, CADENCE, soon(), |seen| seen).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_ec2_forbids_ends_at_once() {
    let (looker, _calls) = numbers(|_| Some(ErrorKind::Denied));
    let end = looker.until(&1, CADENCE, soon(), |seen| seen).await.unwrap_err();
    assert!(matches!(end, WaitEnd::Refused(error) if error.kind == ErrorKind::Denied));
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_its_deadline_even_if_every_poll_fails() {
    let (looker, calls) = numbers(|_| Some(ErrorKind::Unavailable));
    let began = Instant::now();
    let end = looker.until(&1, CADENCE, soon(), |seen| seen).await.unwrap_err();
    assert!(matches!(end, WaitEnd::TimedOut));
    assert_eq!(began.elapsed(), Duration::from_mins(1));
    assert!(calls.lock().unwrap().len() < 20, "{} calls", calls.lock().unwrap().len());
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_call_fails_its_askers_and_not_the_next_ones() {
    let (looker, _calls) = numbers(|ordinal| {
        assert!(ordinal != 1, "a defect");
        None
    });
    assert_eq!(looker.up(1).await.unwrap_err().code, "Defect");
    assert_eq!(looker.up(1).await.unwrap(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn many_waits_are_watched_at_the_pace_of_one() {
    let (looker, calls) = numbers(|_| None);
    let looker = Arc::new(looker);
    let began = Instant::now();
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let looker = Arc::clone(&looker);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(u64::from(n) * 3)).await;
                let ready = began + Duration::from_millis(1_000 + 10 * u64::from(n));
                let judge = |seen: Option<u32>| seen.filter(|_| Instant::now() >= ready);
                looker.until(&n, CADENCE, soon(), judge).await.unwrap();
                Instant::now() - ready
            })
        })
        .collect();
    let mut lags = Vec::new();
    for task in tasks {
        lags.push(task.await.unwrap());
    }
    lags.sort();
    assert!(lags[50] < Duration::from_millis(120), "median lag {:?}", lags[50]);
    assert!(lags[99] < Duration::from_millis(420), "worst lag {:?}", lags[99]);
    let count = calls.lock().unwrap().len();
    assert!(count <= 9, "{count} calls for a spread of one second");
}
