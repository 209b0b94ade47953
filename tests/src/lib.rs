//! End-to-end tests: real processes, real peers, the conformance suite.
