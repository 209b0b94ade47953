//! An HTTP endpoint that is asked: one POST for each message, signed, and a verdict in its answer.
//!
//! | file | holds |
//! |---|---|
//! | `words.rs` | what is sent, and what may come back |
//! | `signature.rs` | who proves that it comes from here |

mod signature;
mod words;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use shadowcat_protocol::Limits;
use tokio::time::timeout;

use super::verdict::{External, Failure, Matter, Opinion, Reason};
pub use signature::{BadSecret, Secret};
pub(crate) use words::{Consent, ConsentWord, Petition, Waiting};

/// Carries one question to the endpoint, and its answer back.
#[async_trait]
pub trait Post: Send + Sync {
    /// The body of the answer, if the endpoint answered with success.
    ///
    /// # Errors
    /// When it could not be reached, refused, or said more than a bound.
    async fn post(&self, headers: &[(&'static str, String)], body: Bytes) -> Result<Bytes, Failure>;
}

/// An HTTP endpoint that is asked.
pub struct Webhook {
    post: Box<dyn Post>,
    secret: Option<Secret>,
    /// The longest question that is sent.
    body_bytes_max: usize,
    /// The bounds of a message that comes back.
    limits: Limits,
}

impl Webhook {
    /// Asks by this way; with a secret, each question is signed.
    pub fn new(post: Box<dyn Post>, secret: Option<Secret>, body_bytes_max: usize, limits: Limits) -> Self {
        Self { post, secret, body_bytes_max, limits }
    }

    /// Asks whether a call may go on that waits for an approval.
    pub(crate) async fn consent(&self, petition: &Petition<'_>, time: Duration) -> Result<Consent, Failure> {
        let answer = self.answer(|id| words::petition(petition, id), time).await?;
        words::consent(&answer)
    }

    /// What is answered to a question, which is written with its id.
    async fn answer(
        &self,
        question: impl FnOnce(&str) -> Result<Vec<u8>, Failure>,
        time: Duration,
    ) -> Result<Bytes, Failure> {
        let id = new_id()?;
        let body = question(&id)?;
        if body.len() > self.body_bytes_max {
            let sentence =
                format!("a question of {} bytes is over the limit of {}", body.len(), self.body_bytes_max);
            return Err(Failure::new(Reason::TooLarge, sentence));
        }
        let sent_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut headers = vec![("webhook-id", id), ("webhook-timestamp", sent_at.to_string())];
        if let (Some(secret), Some((_, id))) = (&self.secret, headers.first()) {
            let signature = secret.sign(id, sent_at, &body);
            headers.push(("webhook-signature", signature));
        }
        let answer = timeout(time, self.post.post(&headers, body.into())).await;
        answer.unwrap_or_else(|_| Err(Failure::timeout(time)))
    }
}

#[async_trait]
impl External for Webhook {
    async fn ask(&self, matter: &Matter, time: Duration) -> Result<Opinion, Failure> {
        let answer = self.answer(|id| words::question(matter, id), time).await?;
        words::verdict(&answer, &matter.message, &self.limits).map(Opinion::from)
    }
}

/// An id that no other question has, here or elsewhere.
fn new_id() -> Result<String, Failure> {
    let random = getrandom::u64().and_then(|high| Ok((high, getrandom::u64()?)));
    let (high, low) = random
        .map_err(|error| Failure::new(Reason::Error, format!("the system gives no randomness: {error}")))?;
    Ok(format!("msg_{high:016x}{low:016x}"))
}
