//! What stands between a client and an upstream: deadlines, the call log and its metrics.
