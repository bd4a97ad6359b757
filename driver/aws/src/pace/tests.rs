//! The queue against a fake EC2 in paused time.

use std::future::pending;

use tokio::task::JoinSet;
use tokio::time::{advance, sleep, timeout};

use super::*;

/// EC2's side: a token bucket, an answer after 15 ms, and the order in which calls came.
#[derive(Debug)]
struct Ec2 {
    level: f64,
    burst: f64,
    refill: f64,
    /// How often tokens are added; some services add a second's worth at once.
    grain: Duration,
    counted: Instant,
    taken: Vec<usize>,
    refused: usize,
}

impl Ec2 {
    fn new(burst: f64, refill: f64, grain: Duration) -> Arc<Mutex<Self>> {
        let counted = Instant::now();
        let (taken, refused) = (Vec::new(), 0);
        Arc::new(Mutex::new(Self { level: burst, burst, refill, grain, counted, taken, refused }))
    }

    fn take(&mut self, who: usize) -> bool {
        while self.counted + self.grain <= Instant::now() {
            self.counted += self.grain;
            self.level = (self.level + self.refill * self.grain.as_secs_f64()).min(self.burst);
        }
        let has_token = self.level >= 1.0 - 1e-9;
        if has_token {
            self.level -= 1.0;
            self.taken.push(who);
        } else {
            self.refused += 1;
        }
        has_token
    }
}

fn refusal() -> ApiError {
    ApiError {
        action: "CreateVolume",
        kind: ErrorKind::Throttled,
        code: "RequestLimitExceeded".to_owned(),
        message: "Request limit exceeded.".to_owned(),
        request_id: None,
    }
}

async fn call(ec2: &Mutex<Ec2>, who: usize) -> Result<(), ApiError> {
    sleep(Duration::from_millis(7)).await;
    let taken = ec2.lock().unwrap().take(who);
    sleep(Duration::from_millis(8)).await;
    if taken { Ok(()) } else { Err(refusal()) }
}

/// `total` creations by `workers`, each of which waits 1.5 s for its volume; how long all took.
async fn create(pacer: Pacer, ec2: &Arc<Mutex<Ec2>>, total: usize, workers: usize) -> Duration {
    let pacer = Arc::new(pacer);
    let next = Arc::new(Mutex::new(0..total));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let (pacer, ec2, next) = (Arc::clone(&pacer), Arc::clone(ec2), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let Some(who) = next.lock().unwrap().next() else { return };
                pacer.run(|| call(&ec2, who)).await.unwrap();
                sleep(Duration::from_millis(1_500)).await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    started.elapsed()
}

const FINE: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_thousand_creations_under_the_default_quota_come_within_3_percent_of_the_limit() {
    for grain in [FINE, Duration::from_secs(1)] {
        let ec2 = Ec2::new(100.0, 5.0, grain);
        let took = create(Pacer::new(100.0, 5.0), &ec2, 1_000, 100).await;
        let limit = (1_000.0 - 100.0) / 5.0 + 1.5;
        let (taken, refused) = {
            let ec2 = ec2.lock().unwrap();
            (ec2.taken.clone(), ec2.refused)
        };
        println!("grain {grain:?}: {took:?} for a limit of {limit} s, {refused} refused");
        assert!(took.as_secs_f64() <= limit * 1.03, "{took:?} for {limit} s");
        assert!(refused <= 10, "{refused} refused");
        let displaced = taken.into_iter().zip(0..).map(|(who, turn)| who.abs_diff(turn)).max();
        assert!(displaced <= Some(8), "out of order by {displaced:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_creations_without_a_quota_are_not_slowed() {
    let ec2 = Ec2::new(1e9, 0.0, FINE);
    let took = create(Pacer::new(100.0, 5.0), &ec2, 1_000, 100).await;
    println!("{took:?} for a limit of 15 s");
    assert!(took.as_secs_f64() <= 15.0 * 1.06, "{took:?}");
    assert_eq!(ec2.lock().unwrap().refused, 0);
}

#[tokio::test(start_paused = true)]
async fn a_raised_quota_is_found_by_probing_and_a_flag_finds_it_at_once() {
    let ec2 = Ec2::new(100.0, 20.0, FINE);
    let probing = create(Pacer::new(100.0, 5.0), &ec2, 4_000, 400).await;
    let ec2 = Ec2::new(100.0, 20.0, FINE);
    let told = create(Pacer::new(100.0, 20.0), &ec2, 4_000, 400).await;
    println!("probing {probing:?}, told {told:?}, limit 196.5 s");
    assert!(probing < Duration::from_mins(5), "{probing:?}");
    assert!(told < Duration::from_secs(203), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_others_use_up_is_shared_without_a_storm_of_refusals() {
    let ec2 = Ec2::new(10.0, 1.0, FINE);
    let took = create(Pacer::new(100.0, 5.0), &ec2, 310, 100).await;
    let refused = ec2.lock().unwrap().refused;
    println!("{took:?} for a limit of 301.5 s, {refused} refused");
    assert!(took < Duration::from_secs(320), "{took:?}");
    assert!(refused < 40, "{refused} refused");
}

#[tokio::test(start_paused = true)]
async fn a_burst_after_a_pause_uses_the_refilled_bucket_without_a_refusal() {
    let ec2 = Ec2::new(100.0, 5.0, FINE);
    let pacer = Arc::new(Pacer::new(100.0, 5.0));
    for who in 0..120 {
        pacer.run(|| call(&ec2, who)).await.unwrap();
    }
    let refused = ec2.lock().unwrap().refused;
    assert_eq!(refused, 1, "one call after the other meets the empty bucket once");
    advance(Duration::from_mins(1)).await;
    let started = Instant::now();
    for who in 0..90 {
        pacer.run(|| call(&ec2, who)).await.unwrap();
    }
    assert_eq!(ec2.lock().unwrap().refused, refused);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ec2_keeps_refusing_fails_after_a_minute() {
    let ec2 = Ec2::new(0.0, 0.0, FINE);
    let pacer = Pacer::new(100.0, 5.0);
    let started = Instant::now();
    let error = pacer.run(|| call(&ec2, 0)).await.unwrap_err();
    assert_eq!(error, refusal());
    assert!((60..75).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    assert!(ec2.lock().unwrap().refused < 20);
}

#[tokio::test(start_paused = true)]
async fn eight_calls_are_in_flight_at_first_and_abandoned_ones_give_their_place_away() {
    let pacer = Arc::new(Pacer::new(100.0, 5.0));
    let mut stuck = JoinSet::new();
    for _ in 0..20 {
        let pacer = Arc::clone(&pacer);
        stuck.spawn(async move { pacer.run(pending::<Result<(), ApiError>>).await });
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(pacer.lock().in_flight, IN_FLIGHT_SEEN);
    assert_eq!(pacer.lock().waiting.len(), 12);
    let late = pacer.run(|| async { Ok::<_, ApiError>(()) });
    assert!(timeout(Duration::from_secs(5), late).await.is_err());

    stuck.shutdown().await;
    assert_eq!(pacer.lock().in_flight, 0);
    assert!(pacer.lock().waiting.is_empty());
    pacer.run(|| async { Ok::<_, ApiError>(()) }).await.unwrap();
}

const IN_FLIGHT_SEEN: usize = 8;

#[tokio::test(start_paused = true)]
async fn calls_that_ec2_takes_let_up_to_sixteen_be_in_flight() {
    let pacer = Arc::new(Pacer::new(100.0, 5.0));
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let pacer = Arc::clone(&pacer);
        let call = || async {
            sleep(Duration::from_millis(15)).await;
            Ok::<_, ApiError>(())
        };
        tasks.spawn(async move { pacer.run(call).await });
    }
    let started = Instant::now();
    let mut most = 0;
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
        most = most.max(pacer.lock().in_flight);
    }
    assert!((15..=16).contains(&most), "{most} in flight");
    assert!(started.elapsed() <= Duration::from_millis(7 * 15), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_volumes_own_snapshot_rate_goes_to_the_caller_and_slows_nobody() {
    let pacer = Pacer::new(100.0, 5.0);
    let per_volume =
        ApiError { code: "SnapshotCreationPerVolumeRateExceeded".to_owned(), ..refusal() };
    let started = Instant::now();
    for _ in 0..50 {
        let answer = per_volume.clone();
        let got = pacer.run(|| std::future::ready(Err::<(), _>(answer.clone()))).await;
        assert_eq!(got, Err(per_volume.clone()));
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
}
