//! Reads a body that has to be whole before it is passed on.

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;

/// Why a body is not there as a whole.
pub(crate) enum Unread<E> {
    /// It is longer than it may be.
    TooLarge,
    /// It did not come to its end.
    Cut(E),
}

/// The body, up to `max` bytes. Most are one frame, which is not copied.
pub(crate) async fn whole<B>(body: &mut B, max: usize) -> Result<Bytes, Unread<B::Error>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut rest: Option<BytesMut> = None;
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        let Ok(data) = frame.map_err(Unread::Cut)?.into_data() else { continue };
        if first.len() + rest.as_ref().map_or(0, BytesMut::len) + data.len() > max {
            return Err(Unread::TooLarge);
        }
        match &mut rest {
            None if first.is_empty() => first = data,
            None => {
                let mut joined = BytesMut::with_capacity(first.len() + data.len());
                joined.extend_from_slice(&first);
                joined.extend_from_slice(&data);
                first = Bytes::new();
                rest = Some(joined);
            }
            Some(joined) => joined.extend_from_slice(&data),
        }
    }
    Ok(rest.map_or(first, BytesMut::freeze))
}
