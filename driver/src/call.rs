//! Calls that are made again. The port makes each call once; whether a failed one may be made
//! again depends on the verb, so the verbs decide by using this or not.

use std::time::Duration;

use csi_core::{ApiError, ErrorKind};
use tokio::time::{Instant, sleep, timeout_at};

/// Tries after a failure whose effect is unknown. One lost reply or one failure of AWS's own is
/// resolved inside the call; more than a few are an outage, which the caller's retries outlast.
const TRIES: u32 = 4;

/// A call that failed for good.
#[derive(Debug)]
pub(crate) struct Failed {
    /// The last failure.
    pub(crate) error: ApiError,
    /// Whether one of the tries may have had an effect all the same.
    pub(crate) in_doubt: bool,
}

/// Waits for a call until `until`; the port has patience of its own, and this is for a port that
/// has none.
pub(crate) async fn bounded<T>(
    until: Instant,
    call: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let silence = |_elapsed| ApiError {
        action: "AWS",
        kind: ErrorKind::NoAnswer,
        code: "Timeout".to_owned(),
        message: "no answer came within the operation's time".to_owned(),
        request_id: None,
    };
    timeout_at(until, call).await.map_err(silence)?
}

/// Makes a call that may be made twice, until it succeeds, fails for good or `until` is near.
pub(crate) async fn repeat<T, Fut>(
    until: Instant,
    mut call: impl FnMut() -> Fut,
) -> Result<T, Failed>
where
    Fut: Future<Output = Result<T, ApiError>>,
{
    let mut in_doubt = false;
    let mut throttled = 0;
    let mut unknown = 0;
    loop {
        let error = match bounded(until, call()).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        in_doubt |= !error.kind.is_effect_free();
        let pause = match error.kind {
            ErrorKind::Throttled => {
                throttled += 1;
                Duration::from_millis(500 << throttled.min(4))
            }
            ErrorKind::Unavailable | ErrorKind::NoAnswer if unknown + 1 < TRIES => {
                unknown += 1;
                Duration::from_millis(50 << unknown)
            }
            _ => return Err(Failed { error, in_doubt }),
        };
        if Instant::now() + pause >= until {
            return Err(Failed { error, in_doubt });
        }
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind) -> ApiError {
        ApiError {
            action: "DeleteVolume",
            kind,
            code: String::new(),
            message: String::new(),
            request_id: None,
        }
    }

    async fn outcome(kinds: &[ErrorKind]) -> (Result<usize, Failed>, usize) {
        let mut calls = 0;
        let until = Instant::now() + Duration::from_mins(2);
        let result = repeat(until, || {
            let answer = kinds.get(calls).map_or(Ok(calls), |kind| Err(error(*kind)));
            calls += 1;
            async { answer }
        })
        .await;
        (result, calls)
    }

    #[tokio::test(start_paused = true)]
    async fn transient_failures_are_outlasted_and_final_ones_are_not_repeated() {
        let (result, _) = outcome(&[ErrorKind::NoAnswer, ErrorKind::Unavailable]).await;
        assert_eq!(result.unwrap(), 2);
        let (result, _) = outcome(&[ErrorKind::Throttled; 6]).await;
        assert_eq!(result.unwrap(), 6);
        let (result, calls) = outcome(&[ErrorKind::Denied]).await;
        assert!(!result.unwrap_err().in_doubt);
        assert_eq!(calls, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_doubt_survives_a_later_clear_answer() {
        let (result, _) = outcome(&[ErrorKind::NoAnswer, ErrorKind::VolumeInUse]).await;
        let failed = result.unwrap_err();
        assert_eq!((failed.error.kind, failed.in_doubt), (ErrorKind::VolumeInUse, true));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_ends_the_tries() {
        let (result, calls) = outcome(&[ErrorKind::Unavailable; 9]).await;
        assert!(result.unwrap_err().in_doubt);
        assert_eq!(calls, 4);
    }
}
