//! The cache over a chain of one scripted link, in paused time.

use std::collections::VecDeque;

use tokio::task::JoinSet;

use super::super::Link;
use super::*;

/// Gives what it was told, each after a second; then nothing, for ever.
#[derive(Debug)]
struct Scripted(Mutex<VecDeque<Result<Credentials, &'static str>>>);

impl ProvideCredentials for Scripted {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let next = self.0.lock().unwrap().pop_front();
            match next {
                Some(answer) => answer.map_err(ProviderError::provider_error),
                None => std::future::pending().await,
            }
        })
    }
}

fn keys(name: &str, lasting: u64) -> Credentials {
    Credentials::builder()
        .access_key_id(name)
        .secret_access_key("secret")
        .expiry(SystemTime::now() + Duration::from_secs(lasting))
        .provider_name("test")
        .build()
}

fn cache(answers: Vec<Result<Credentials, &'static str>>) -> Cache {
    let provider = Scripted(Mutex::new(answers.into()));
    Cache::new(Chain::of("us-east-1", vec![(Link::Container, Box::new(provider))]))
}

async fn name(cache: &Cache) -> String {
    cache.credentials().await.unwrap().access_key_id().to_owned()
}

#[tokio::test(start_paused = true)]
async fn many_callers_ask_once_and_again_only_near_the_end() {
    let cache = cache(vec![Ok(keys("first", 3_600)), Ok(keys("second", 3_600))]);
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let cache = cache.clone();
        callers.spawn(async move { name(&cache).await });
    }
    assert!(callers.join_all().await.iter().all(|name| name == "first"));
    assert_eq!(name(&cache).await, "first");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_leaves_the_old_ones_in_use_and_is_not_repeated_at_once() {
    let cache = cache(vec![Ok(keys("old", 120)), Err("STS is down"), Ok(keys("new", 3_600))]);
    assert_eq!(name(&cache).await, "old");
    for _ in 0..10 {
        assert_eq!(name(&cache).await, "old");
    }
    tokio::time::advance(PAUSE * 2).await;
    assert_eq!(name(&cache).await, "new");
}

#[tokio::test(start_paused = true)]
async fn callers_do_not_wait_for_a_renewal_while_the_old_ones_hold() {
    let cache = cache(vec![Ok(keys("old", 120))]);
    assert_eq!(name(&cache).await, "old");
    let renewing = tokio::spawn({
        let cache = cache.clone();
        async move { name(&cache).await }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let started = Instant::now();
    assert_eq!(name(&cache).await, "old");
    assert_eq!(started.elapsed(), Duration::ZERO);
    renewing.abort();
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_by_those_who_waited_for_it() {
    let cache = cache(vec![Err("no such role"), Ok(keys("later", 3_600))]);
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let cache = cache.clone();
        callers.spawn(async move { cache.credentials().await.map(drop) });
    }
    let expected =
        CredentialsError::Broken { link: Link::Container, reason: "no such role".to_owned() };
    for answer in callers.join_all().await {
        assert_eq!(answer, Err(expected.clone()));
    }
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(name(&cache).await, "later");
}

#[tokio::test(start_paused = true)]
async fn a_link_that_hangs_is_named_in_time() {
    let cache = cache(vec![]);
    let patience = Duration::from_secs(3);
    let link = Link::Container;
    let checked = cache.check(patience).await;
    assert_eq!(checked, Err(CredentialsError::TimedOut { link, after: patience }));
    let called = cache.credentials().await.map(drop);
    assert_eq!(called, Err(CredentialsError::TimedOut { link, after: super::super::CHAIN }));
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_in_a_debug_print() {
    let cache = cache(vec![Ok(keys("first", 3_600))]);
    cache.credentials().await.unwrap();
    assert!(!format!("{cache:?}").contains("secret\""));
}
