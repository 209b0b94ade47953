//! The tape: every message of a conversation, one JSON record a line.
