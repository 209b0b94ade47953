//! The rules of a file, read.

use shadowcat_rules::Rules;

use super::{PlanError, PlanErrors};
use crate::config::Loaded;

/// Reads the rules of a file.
///
/// # Errors
/// With everything that is wrong with them, each at its line.
pub fn rules(loaded: &Loaded) -> Result<Rules, PlanErrors> {
    Rules::compile(&loaded.file.rules).map_err(|faults| {
        let told = |fault: shadowcat_rules::Fault| PlanError {
            place: loaded.place(&fault.place),
            sentence: fault.sentence,
        };
        PlanErrors(faults.into_iter().map(told).collect())
    })
}
