//! Records of older major versions, made into those of this one: a table of steps, each from one version to the next.
//!
//! A minor version needs no step, because it only adds members that readers can do without.

use super::MAJOR;

/// Makes the object of a record of one major version that of the next.
type Step = fn(String) -> Result<String, String>;

/// The first step leads from version 1 to 2. There are as many as there are versions before this one, or it does not
/// compile.
const STEPS: [Step; MAJOR as usize - 1] = [];

/// The record of a tape of this major version, as a tape of today would have it.
pub(super) fn upgraded(object: String, major: u32) -> Result<String, String> {
    climb(&STEPS, object, major)
}

fn climb(steps: &[Step], object: String, major: u32) -> Result<String, String> {
    let known = usize::try_from(major).unwrap_or(usize::MAX).saturating_sub(1);
    steps.iter().skip(known).try_fold(object, |object, step| step(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_takes_each_step_from_its_own_version_on() {
        let steps: [Step; 2] = [|object| Ok(object + " 1>2"), |object| Ok(object + " 2>3")];
        assert_eq!(climb(&steps, "a".to_owned(), 1).unwrap(), "a 1>2 2>3");
        assert_eq!(climb(&steps, "a".to_owned(), 2).unwrap(), "a 2>3");
        assert_eq!(climb(&steps, "a".to_owned(), 3).unwrap(), "a");
        let steps: [Step; 1] = [|_| Err("lacks a name".to_owned())];
        assert_eq!(climb(&steps, "a".to_owned(), 1).unwrap_err(), "lacks a name");
    }
}
