//! What the rest of the program lets the API see of it.

use crate::forms::{Rules, Sessions, Status};

/// Looks at the parts of a running proxy.
pub trait Views: Send + Sync {
    /// How the proxy is.
    fn status(&self) -> Status;

    /// The sessions in use.
    fn sessions(&self) -> Sessions;

    /// The rules in force.
    fn rules(&self) -> Rules;
}
