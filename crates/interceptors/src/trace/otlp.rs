//! Spans as OTLP writes them: an `ExportTraceServiceRequest` in protobuf, of which each field used here is stable since
//! version 1.0. Written by hand, because the ready-made types bring an SDK and a dozen crates along for these few; a test in
//! `tests/e2e` reads them with the official ones.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use shadowcat_protocol::trace::TraceParent;

use super::span::Span;

/// `SPAN_KIND_SERVER`: it answers whoever sent the request.
const SERVER: u64 = 2;
/// `STATUS_CODE_ERROR`.
const ERROR: u64 = 2;

/// A request that hands over these spans of the service of this name.
pub(super) fn request(service: &str, spans: &[Span]) -> Bytes {
    let resource = Fields::default().message(1, &attribute("service.name", service));
    let scope = Fields::default().text(1, "shadowcat").text(2, env!("CARGO_PKG_VERSION"));
    let scoped =
        spans.iter().fold(Fields::default().message(1, &scope), |all, each| all.message(2, &span(each)));
    let of_resource = Fields::default().message(1, &resource).message(2, &scoped);
    Fields::default().message(1, &of_resource).0.into()
}

/// How many spans the collector did not take, as its `ExportTraceServiceResponse` says. An answer that is none says nothing.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    match value(answer, 1) {
        Some(Value::Bytes(partial_success)) => match value(partial_success, 1) {
            Some(Value::Number(rejected_spans)) => rejected_spans,
            _ => 0,
        },
        _ => 0,
    }
}

/// The value of a field, in the message that these bytes are.
fn value(mut message: &[u8], field: u64) -> Option<Value<'_>> {
    loop {
        let key = varint(&mut message)?;
        let value = match key & 7 {
            Fields::VARINT => Value::Number(varint(&mut message)?),
            Fields::LENGTH => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                Value::Bytes(message.split_off(..length)?)
            }
            // None of the fields in an answer is of another kind.
            _ => return None,
        };
        if key >> 3 == field {
            return Some(value);
        }
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = *bytes.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// The value of a field that is read.
enum Value<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

fn span(span: &Span) -> Fields {
    let place = &span.place;
    let mut fields = ids(place.own);
    if let Some(parent) = place.parent {
        fields = fields.bytes(4, &parent.to_be_bytes());
    }
    fields = fields.text(5, &span.name).number(6, SERVER).time(7, span.begun).time(8, span.ended);
    for (key, value) in &span.attributes {
        fields = fields.message(9, &attribute(key, value));
    }
    if let Some(link) = place.link {
        fields = fields.message(13, &ids(link));
    }
    if span.has_failed { fields.message(15, &Fields::default().number(3, ERROR)) } else { fields }
}

/// The first two fields of a span, and of a link to one.
fn ids(of: TraceParent) -> Fields {
    Fields::default().bytes(1, &of.trace_id().get().to_be_bytes()).bytes(2, &of.span_id().to_be_bytes())
}

fn attribute(key: &str, value: &str) -> Fields {
    Fields::default().text(1, key).message(2, &Fields::default().text(1, value))
}

/// The fields of one message.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    const VARINT: u64 = 0;
    const FIXED64: u64 = 1;
    const LENGTH: u64 = 2;

    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3 | Self::VARINT);
        self.varint(value);
        self
    }

    fn time(mut self, field: u64, at: SystemTime) -> Self {
        let nanos = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        self.varint(field << 3 | Self::FIXED64);
        self.0.extend_from_slice(&u64::try_from(nanos).unwrap_or(u64::MAX).to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | Self::LENGTH);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    fn message(self, field: u64, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    fn varint(&mut self, mut value: u64) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                return self.0.push(low);
            }
            self.0.push(low | 0x80);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_groups_of_seven_bits() {
        for (value, written) in [
            (0, vec![0x08, 0]),
            (127, vec![0x08, 0x7f]),
            (128, vec![0x08, 0x80, 0x01]),
            (300, vec![0x08, 0xac, 0x02]),
        ] {
            assert_eq!(Fields::default().number(1, value).0, written);
        }
        assert_eq!(Fields::default().number(1, u64::MAX).0.len(), 11);
        assert_eq!(Fields::default().text(15, "ab").0, [0x7a, 2, b'a', b'b']);
        assert_eq!(Fields::default().message(16, &Fields::default()).0, [0x82, 1, 0]);
    }

    #[test]
    fn an_answer_says_how_much_was_not_taken() {
        let answer = |partial: Fields| Fields::default().message(1, &partial).0;
        let partial = || Fields::default().text(2, "no room").number(1, 300);
        assert_eq!(rejected(&answer(partial())), 300);
        assert_eq!(rejected(&Fields::default().text(7, "later").message(1, &partial()).0), 300);
        assert_eq!(rejected(&answer(Fields::default().text(2, "only a warning"))), 0);
        let whole = answer(partial());
        for cut in 0..whole.len() {
            assert_eq!(rejected(&whole[..cut]), 0, "{cut}");
        }
        for nonsense in [&b"{}"[..], b"<html>", &[0xff; 20], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f]] {
            assert_eq!(rejected(nonsense), 0);
        }
    }
}
