//! Waiting for a condition, never for a time.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

/// How long anything that should happen at once may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);
const PACE: Duration = Duration::from_millis(5);

/// The future's output, or a panic that says what did not happen.
pub async fn within<T>(deadline: Duration, what: impl Display, future: impl Future<Output = T>) -> T {
    let output = tokio::time::timeout(deadline, future).await;
    output.unwrap_or_else(|_| panic!("did not happen within {deadline:?}: {what}"))
}

/// [`within`] the usual deadline.
pub async fn soon<T>(what: impl Display, future: impl Future<Output = T>) -> T {
    within(SOON, what, future).await
}

/// Asks until there is a value.
pub async fn found<T>(what: impl Display, mut look: impl FnMut() -> Option<T>) -> T {
    soon(what, async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(PACE).await;
        }
    })
    .await
}

/// Asks until it is so.
pub async fn until(what: impl Display, mut so: impl FnMut() -> bool) {
    found(what, || so().then_some(())).await;
}
