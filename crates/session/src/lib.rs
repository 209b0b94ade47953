//! What outlives an exchange: session records, live sessions, resumable streams, the store trait.
