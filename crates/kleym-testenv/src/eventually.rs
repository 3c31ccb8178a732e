//! The one place that polls: waiting until a condition holds, with a deadline and a message that says what
//! was still wrong. It never waits for a fixed time: the first attempt is made at once.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep, timeout_at};

const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Repeats `attempt` until it answers `Ok`, and fails when `deadline` has passed.
///
/// `what` is the awaited condition as a sentence (`the binding is ready`); the error of the last attempt
/// becomes the reason in the failure. An attempt that hangs is cut off at the deadline.
pub async fn eventually<T, E, F, Fut>(what: &str, deadline: Duration, mut attempt: F) -> Result<T>
where
    E: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let end = Instant::now() + deadline;
    let mut pause = SHORTEST_PAUSE;
    let mut last = String::from("the first attempt did not end");
    loop {
        match timeout_at(end, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            // The alternate form prints the whole chain of an `anyhow` error.
            Ok(Err(reason)) => last = format!("{reason:#}"),
            Err(_) => return Err(anyhow!("not within {deadline:?}: {what}; last seen: {last}")),
        }
        if Instant::now() + pause >= end {
            return Err(anyhow!("not within {deadline:?}: {what}; last seen: {last}"));
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test(flavor = "current_thread")]
    async fn a_condition_that_comes_true_gives_its_value() {
        let attempts = Cell::new(0);
        let value = eventually("the third attempt is made", Duration::from_secs(5), || {
            attempts.set(attempts.get() + 1);
            let now = attempts.get();
            async move { if now < 3 { Err(format!("only {now}")) } else { Ok(now) } }
        })
        .await;
        assert_eq!(value.unwrap(), 3);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_condition_that_stays_false_fails_with_the_last_reason() {
        let failure =
            eventually("it is green", Duration::from_millis(20), || async { Err::<(), _>("it is red") })
                .await
                .unwrap_err();
        assert_eq!(failure.to_string(), "not within 20ms: it is green; last seen: it is red");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_attempt_that_hangs_is_cut_off() {
        let failure = eventually("it answers", Duration::from_millis(20), || {
            std::future::pending::<Result<(), String>>()
        })
        .await
        .unwrap_err();
        assert_eq!(
            failure.to_string(),
            "not within 20ms: it answers; last seen: the first attempt did not end"
        );
    }
}
