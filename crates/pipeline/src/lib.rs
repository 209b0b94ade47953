//! The narrow waist: envelopes, replies, services, interceptors, refusals.
