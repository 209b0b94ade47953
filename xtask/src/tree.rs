//! Where things are in the project's folder.

use std::path::{Path, PathBuf};

/// The project's folder.
pub(crate) fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// The sources of the peers: pins, and the small programs of ours.
pub(crate) fn peer_sources() -> PathBuf {
    root().join("tests/peers")
}

/// Where the peers are installed; not under version control.
pub(crate) fn installed() -> PathBuf {
    root().join("tests/.peers")
}

/// The Node that runs the peers, whatever the system has.
pub(crate) fn node() -> PathBuf {
    installed().join("node/node_modules/.bin/node")
}
