//! `shadowcat guard`: the process that outlives a killed proxy just long enough to end its children.

/// Follows the proxy's lines on standard input until it is gone.
pub(crate) fn run() {
    shadowcat_transports::stdio::run_guard(std::io::stdin().lock());
}
