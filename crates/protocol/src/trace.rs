//! Trace context (W3C Trace Context, level 1): which trace a request is a part of, as HTTP headers and `_meta` say it.
//! MCP has it in `params._meta`, under the names of the headers (SEP-414).

use std::borrow::Cow;
use std::fmt;

use crate::json::edit::{Change, Edits};
use crate::{Request, json};

/// The header, and the member of `_meta`, that names a trace and the span within it.
pub const TRACEPARENT: &str = "traceparent";
/// The header, and the member of `_meta`, with what tracing systems add to it.
pub const TRACESTATE: &str = "tracestate";

/// The longest `tracestate` that is carried from a header or into one: the length that everybody has to carry.
const STATE_BYTES_MAX: usize = 512;
/// A `traceparent` of version 00; later ones begin like it.
const LEN: usize = 55;
const SAMPLED: u8 = 1;

/// A trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(u128);

impl TraceId {
    /// None for zero, which means that there is none.
    pub fn new(id: u128) -> Option<Self> {
        (id != 0).then_some(Self(id))
    }

    /// The number itself.
    pub fn get(self) -> u128 {
        self.0
    }
}

/// As it is written everywhere.
impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A span, and the trace that it is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: TraceId,
    span_id: u64,
    flags: u8,
}

impl TraceParent {
    /// None for the span zero, which means that there is none.
    pub fn new(trace_id: TraceId, span_id: u64, is_sampled: bool) -> Option<Self> {
        let flags = if is_sampled { SAMPLED } else { 0 };
        (span_id != 0).then_some(Self { trace_id, span_id, flags })
    }

    /// Reads a `traceparent`. Version 00 has to be exactly in its form; of a later one the beginning is read, as the
    /// specification asks for.
    pub fn parse(text: &str) -> Option<Self> {
        let head = text.get(..LEN)?;
        let mut fields = head.split('-');
        let version = hex(fields.next()?, 2)?;
        let trace_id = TraceId::new(hex(fields.next()?, 32)?)?;
        let span_id = u64::try_from(hex(fields.next()?, 16)?).ok()?;
        let flags = u8::try_from(hex(fields.next()?, 2)?).ok()?;
        let is_whole = fields.next().is_none() && text.len() == LEN;
        let goes_on = text.as_bytes().get(LEN) == Some(&b'-');
        let may_be = match version {
            0 => is_whole,
            0xff => false,
            _ => is_whole || goes_on,
        };
        // Of the flags only the first has a meaning, and the others must not be passed on.
        Self::new(trace_id, span_id, flags & SAMPLED != 0).filter(|_| may_be)
    }

    /// The trace.
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// The span within it.
    pub fn span_id(&self) -> u64 {
        self.span_id
    }

    /// Whether its caller keeps it.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// As a `traceparent` of version 00.
impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// A number of exactly so many digits, all of them lower case.
fn hex(digits: &str, count: usize) -> Option<u128> {
    let are_digits = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (digits.len() == count && are_digits).then(|| u128::from_str_radix(digits, 16).ok())?
}

/// What a request says of the trace that it is a part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The span that it was sent in.
    pub parent: TraceParent,
    /// What tracing systems add, as it is written.
    pub state: Option<Box<str>>,
}

impl TraceContext {
    /// The trace.
    pub fn trace_id(&self) -> TraceId {
        self.parent.trace_id()
    }

    /// What the header of this name may say; none if that would be more than anybody has to carry. In `_meta` there is room for all.
    pub fn state_header(&self) -> Option<&str> {
        self.state.as_deref().filter(|state| fits_header(state))
    }

    /// Reads the two headers. Without a right `traceparent` the other says nothing.
    pub fn of_headers(traceparent: &str, tracestate: &[&str]) -> Option<Self> {
        let state = tracestate.join(",");
        let state = Some(state).filter(|state| fits_header(state));
        Some(Self { parent: TraceParent::parse(traceparent.trim())?, state: state.map(Into::into) })
    }

    /// Reads `params._meta` of a request, likewise.
    pub fn of_request(request: &Request) -> Option<Self> {
        let parent = request.meta(TRACEPARENT).and_then(json::string)?;
        let state = request.meta(TRACESTATE).and_then(json::string).map(Cow::into_owned);
        Some(Self { parent: TraceParent::parse(&parent)?, state: state.map(Into::into) })
    }

    /// The same request, in this span. All bytes but those of the two members stay. A request whose `_meta` is no object has
    /// no place for it, and stays as it is.
    pub fn written_into(&self, request: &Request) -> Request {
        const STATE: [&str; 2] = ["_meta", TRACESTATE];
        let string = |text: &str| Change::Set(json::quote(text));
        let mut edits = Edits::one(&["_meta", TRACEPARENT], string(&self.parent.to_string()));
        let sent = request.meta(TRACESTATE);
        match &self.state {
            Some(state) if sent.and_then(json::string).as_deref() == Some(state) => {}
            Some(state) => edits.add(&STATE, string(state)),
            None if sent.is_some() => edits.add(&STATE, Change::Remove),
            None => {}
        }
        match edits.apply(request.params().unwrap_or("{}")) {
            Ok(params) => request.with_params(&params),
            Err(_) => request.clone(),
        }
    }
}

fn fits_header(state: &str) -> bool {
    !state.is_empty() && state.len() <= STATE_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::{Limits, Message};

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn request(text: &str) -> Request {
        let Ok(Message::Request(request)) =
            Message::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default())
        else {
            panic!("{text}")
        };
        request
    }

    fn own() -> TraceParent {
        TraceParent::new(TraceId::new(1).unwrap(), 2, true).unwrap()
    }

    fn written(text: &str, state: Option<&str>) -> String {
        let parent = own();
        let context = TraceContext { parent, state: state.map(Into::into) };
        let written = context.written_into(&request(text));
        assert_eq!(TraceContext::of_request(&written), Some(context), "it is read as it was written");
        String::from_utf8(written.text().to_vec()).unwrap()
    }

    #[test]
    fn a_traceparent_is_read_as_the_specification_says() {
        let parent = TraceParent::parse(PARENT).unwrap();
        assert_eq!(parent.trace_id().get(), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((parent.span_id(), parent.is_sampled()), (0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(parent.to_string(), PARENT);
        let unsampled = TraceParent::parse(&PARENT.replace("-01", "-00")).unwrap();
        assert!(!unsampled.is_sampled());
    }

    #[test]
    fn flags_without_a_meaning_are_not_passed_on() {
        let parent = TraceParent::parse(&format!("{}ff", &PARENT[..53])).unwrap();
        assert_eq!(parent.to_string(), PARENT);
    }

    #[test]
    fn a_later_version_is_read_by_its_beginning() {
        for right in [PARENT.replacen("00", "01", 1), format!("{}-more", PARENT.replacen("00", "cc", 1))] {
            assert_eq!(TraceParent::parse(&right).unwrap().to_string(), PARENT, "{right}");
        }
        for wrong in [format!("{}x", PARENT.replacen("00", "cc", 1)), PARENT.replacen("00", "ff", 1)] {
            assert_eq!(TraceParent::parse(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_not_exactly_in_its_form_is_none() {
        let wrong = [
            String::new(),
            "00".to_owned(),
            PARENT[..54].to_owned(),
            format!("{PARENT}-"),
            format!("{PARENT}-x"),
            format!(" {PARENT}"),
            PARENT.to_uppercase(),
            PARENT.replace('-', "_"),
            PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            PARENT.replace("00f067aa0ba902b7", &"0".repeat(16)),
            PARENT.replace("4bf9", "+bf9"),
            PARENT.replace("4bf92f", "4bf9-f"),
            PARENT.replace("4bf9", "é4b"),
        ];
        for wrong in wrong {
            assert_eq!(TraceParent::parse(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn headers_are_read_together() {
        let read = |states: &[&str]| TraceContext::of_headers(PARENT, states).unwrap().state;
        assert_eq!(read(&["a=1", "b=2"]).as_deref(), Some("a=1,b=2"));
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[&"a".repeat(513)]), None, "longer than anybody has to carry");
        assert_eq!(TraceContext::of_headers("00-nonsense", &["a=1"]), None);
    }

    #[test]
    fn a_request_keeps_every_other_byte() {
        let own = r#""traceparent":"00-00000000000000000000000000000001-0000000000000002-01""#;
        for (text, state, expected) in [
            (
                r#"{"jsonrpc":"2.0", "id":1.0,"method":"tools/list"}"#,
                None,
                format!(
                    r#"{{"jsonrpc":"2.0", "id":1.0,"method":"tools/list","params":{{"_meta":{{{own}}}}}}}"#
                ),
            ),
            (
                r#"{"id":1,"params": { "n": 1.50 , "_meta":{ "x" : 1}},"method":"m","jsonrpc":"2.0"}"#,
                None,
                format!(
                    r#"{{"id":1,"params": {{ "n": 1.50 , "_meta":{{ "x" : 1,{own}}}}},"method":"m","jsonrpc":"2.0"}}"#
                ),
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"traceparent":"x","tracestate":"\u0061=1", "progressToken":7}}}"#,
                Some("a=1"),
                format!(
                    r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"_meta":{{{own},"tracestate":"\u0061=1", "progressToken":7}}}}}}"#
                ),
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"tracestate":"a=1","traceparent":"x"}}}"#,
                None,
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"_meta":{{{own}}}}}}}"#),
            ),
        ] {
            assert_eq!(written(text, state), expected);
        }
    }

    #[test]
    fn a_request_without_a_place_for_it_stays_as_it_is() {
        let sent = request(r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":7}}"#);
        let context = TraceContext { parent: own(), state: None };
        assert_eq!(context.written_into(&sent).text(), sent.text());
    }

    #[test]
    fn ids_and_tokens_are_found_after_it_as_before() {
        let text = r#"{"method":"tools/call","params":{"_meta":{"progressToken":7},"name":"a"},"id":"x","jsonrpc":"2.0"}"#;
        let context = TraceContext { parent: own(), state: None };
        let written = context.written_into(&request(text));
        assert_eq!((written.progress_token(), written.name().as_deref()), (Some("7"), Some("a")));
        let renamed = written.with_ids(&crate::Id::from_u64(5), Some(9));
        assert_eq!((renamed.id().as_json(), renamed.progress_token()), ("5", Some("9")));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(trace in 1_u128.., span in 1_u64.., is_sampled: bool) {
            let parent = TraceParent::new(TraceId::new(trace).unwrap(), span, is_sampled).unwrap();
            prop_assert_eq!(TraceParent::parse(&parent.to_string()), Some(parent));
        }

        #[test]
        fn no_text_is_read_that_was_not_in_the_form(text in "[0-9a-f-]{50,60}|\\PC*") {
            if let Some(parent) = TraceParent::parse(&text) {
                prop_assert_eq!(&parent.to_string()[3..53], &text[3..53]);
            }
        }

        #[test]
        fn one_other_character_is_no_other_form(at in 0_usize..55, other in "[g-zA-Z +_é]") {
            let mut text: Vec<char> = PARENT.chars().collect();
            text[at] = other.chars().next().unwrap();
            prop_assert_eq!(TraceParent::parse(&text.into_iter().collect::<String>()), None);
        }
    }
}
