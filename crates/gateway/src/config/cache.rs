//! The keys of `shadowcat.yaml` about what is kept of a server's answers.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{ByteSize, Span};

/// Keeping of what modern servers say may be kept: lists, resources, and what a server says of itself.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Answers kept at most; those that were not used for the longest time give way.
    pub entries_max: Option<usize>,
    /// Bytes of them at most; an answer that takes more than an eighth of this is not kept.
    pub bytes_max: Option<ByteSize>,
    /// No answer is kept for longer than this, whatever its server says.
    pub ttl_max: Option<Span>,
}
