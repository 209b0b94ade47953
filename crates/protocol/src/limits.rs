//! The bounds of what is read from a peer.

/// Bounds of one message; every parser is given them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest message, in bytes. More than 4 GiB is never read.
    pub message_bytes_max: usize,
    /// The deepest nesting of objects and arrays. More than 128 is never read.
    pub depth_max: usize,
    /// The most messages in one batch.
    pub batch_max: usize,
    /// The longest request id, in bytes of its JSON text: ids are kept while a request is under way.
    pub id_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes_max: 16 * 1024 * 1024, depth_max: 128, batch_max: 100, id_bytes_max: 1024 }
    }
}
