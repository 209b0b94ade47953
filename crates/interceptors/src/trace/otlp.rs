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
}
