//! What must hold for any bytes. The fuzz targets and the corpus test both call these functions.

use std::iter;

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use serde_json::value::RawValue;
use shadowcat_protocol::{Id, Limits, Message, Request, Revision, headers, lines, split_batch, sse};

/// Small enough for inputs to reach.
const FRAME_BYTES_MAX: usize = 64;

/// A body is a message, a batch, or refused; a message that is made from one reads as it was made.
pub fn http_body(bytes: &[u8]) {
    let limits = Limits { depth_max: 16, batch_max: 4, ..Limits::default() };
    let body = Bytes::copy_from_slice(bytes);
    let parts = split_batch(&body, &limits).unwrap_or_else(|_| vec![body]);
    assert!(!parts.is_empty() && parts.len() <= limits.batch_max);
    for part in parts {
        let Ok(message) = Message::parse(part.clone(), &limits) else { continue };
        assert_eq!(message.text(), &part);
        let line = message.to_line();
        assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
        let read = Message::parse(line, &limits);
        assert!(read.is_ok_and(|read| read.method() == message.method()));
    }
}

/// Any cut of a stream gives the same events, and events that are written are read again.
pub fn sse_stream(bytes: &[u8]) {
    let read = |cut: usize| {
        let mut decoder = sse::Decoder::new(FRAME_BYTES_MAX);
        let end = bytes.chunks(cut).try_for_each(|chunk| decoder.push(chunk));
        (iter::from_fn(|| decoder.next_event()).collect::<Vec<_>>(), end)
    };
    let (events, end) = read(bytes.len().max(1));
    for cut in [1, 2, 3, 7] {
        assert_eq!(read(cut), (events.clone(), end));
    }
    let mut written = BytesMut::new();
    for event in &events {
        sse::encode(event, &mut written);
    }
    // Field names and blanks come on top of what the limit counts, and bytes that were no UTF-8 grow threefold.
    let mut decoder = sse::Decoder::new(FRAME_BYTES_MAX * 8);
    assert_eq!(decoder.push(&written), Ok(()));
    assert_eq!(iter::from_fn(|| decoder.next_event()).collect::<Vec<_>>(), events);
}

/// Any cut of a stream gives the same lines, none of them longer than the limit.
pub fn stdio_lines(bytes: &[u8]) {
    let read = |cut: usize| {
        let mut decoder = lines::Decoder::new(FRAME_BYTES_MAX);
        bytes.chunks(cut).for_each(|chunk| decoder.push(chunk));
        decoder.finish();
        iter::from_fn(|| decoder.next_line()).collect::<Vec<_>>()
    };
    let whole = read(bytes.len().max(1));
    for cut in [1, 2, 3, 7] {
        assert_eq!(read(cut), whole);
    }
    for line in whole.into_iter().flatten() {
        assert!(line.len() <= FRAME_BYTES_MAX && !line.contains(&b'\n'));
    }
}

/// The first three lines are a method, a name and the header that should mirror it; the rest is schema and arguments.
pub fn mcp_headers(bytes: &[u8]) {
    let mut parts = bytes.splitn(4, |byte| *byte == b'\n');
    let [method, name, mirrored, json] = [(); 4].map(|()| parts.next().unwrap_or_default());
    let [method, name, json] = [method, name, json].map(String::from_utf8_lossy);
    let encoded = headers::encode_value(&name);
    assert!(headers::decode_value(encoded.as_bytes()).is_ok_and(|decoded| decoded == name));

    let params = serde_json::json!({ "name": name, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }});
    let request = Request::new(&Id::from_u64(1), &method, Some(&params.to_string()));
    let header = |key: &str| match key {
        headers::PROTOCOL_VERSION => vec![&b"2026-07-28"[..]],
        headers::METHOD => vec![method.as_bytes()],
        headers::NAME => vec![mirrored],
        _ => vec![],
    };
    let checked = headers::check_modern(&request, header, &[Revision::V2026_07_28]);
    if checked.is_ok() && request.name().is_some() {
        assert!(headers::decode_value(mirrored).is_ok_and(|decoded| decoded == name));
    }
    mirrored_arguments(&json);
}

/// Headers that are built from arguments say what the arguments say.
fn mirrored_arguments(json: &str) {
    let Ok(params) = headers::param_headers(json) else { return };
    let built = headers::build_params(&params, json);
    let header = |key: &str| -> Vec<&[u8]> {
        built.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_bytes()).collect()
    };
    let mirrored: Vec<_> = params.into_iter().filter(|param| !header(&param.header()).is_empty()).collect();
    assert!(headers::check_params(&mirrored, json, header).is_ok());
}

/// Another parser agrees on what is JSON, and on what an edit of ids changed.
pub fn jsonrpc_diff(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    if let Ok(text) = std::str::from_utf8(bytes)
        && text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() < Limits::default().depth_max
    {
        let theirs = serde_json::from_str::<&RawValue>(text).is_ok();
        assert_eq!(shadowcat_protocol::json::is_value(text), theirs);
    }
    let Ok(message) = Message::parse(body, &Limits::default()) else { return };
    let Message::Request(request) = message else { return };
    let edited = request.with_ids(&Id::from_u64(7), Some(8));
    assert!(Message::parse(edited.text().clone(), &Limits::default()).is_ok());
    // Numbers beyond a double and half surrogate pairs are JSON that this parser does not keep.
    let Ok(mut before) = serde_json::from_slice::<Value>(bytes) else { return };
    before["id"] = 7.into();
    if request.progress_token().is_some() {
        before["params"]["_meta"]["progressToken"] = 8.into();
    }
    assert!(serde_json::from_slice::<Value>(edited.text()).is_ok_and(|after| after == before));
}
