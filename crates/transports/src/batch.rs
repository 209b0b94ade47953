//! Batches, which only 2025-03-26 has: their requests side by side, and their responses together.

use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use shadowcat_pipeline::{Refusal, RefusalKind};
use shadowcat_protocol::{Request, Response};

/// The responses to these requests, in their order. Cancelled ones get none.
pub(crate) async fn answered<F>(requests: Vec<Request>, mut answer: impl FnMut(Request) -> F) -> Vec<Response>
where
    F: Future<Output = Option<Result<Response, Refusal>>>,
{
    let answers = requests.into_iter().map(|request| {
        let id = request.id().clone();
        // A defect in one is its own: all the others are answered, and so is this one by its id.
        let answering = AssertUnwindSafe(answer(request)).catch_unwind();
        async move {
            let answer = answering.await.unwrap_or_else(|_| Some(Err(RefusalKind::Internal.into())))?;
            Some(answer.unwrap_or_else(|refusal| refusal.response(Some(&id))))
        }
    });
    join_all(answers).await.into_iter().flatten().collect()
}

/// Several responses as one JSON array.
pub(crate) fn join(responses: &[Response]) -> Bytes {
    let texts: Vec<&[u8]> = responses.iter().map(|response| &response.text()[..]).collect();
    Bytes::from([b"[".as_slice(), &texts.join(&b","[..]), b"]"].concat())
}
