//! The load generator, the mock upstream and the bare relay that Shadowcat is measured against.
