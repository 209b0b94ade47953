//! What must hold for any bytes. The fuzz target and the corpus test both call this.

use shadowcat_filter::{Field, Filter, Flag, Quantity, Subject};

/// Any text is a filter or an error within the text; a filter prints to what parses to the same, and can be asked.
pub fn filter(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let filter = match text.parse::<Filter>() {
        Ok(filter) => filter,
        Err(error) => {
            assert!(error.column >= 1 && error.column <= text.chars().count() + 1);
            return;
        }
    };
    let printed = filter.to_string();
    // Printing puts blanks and quotes where there were none, and may so grow beyond the longest that is taken.
    assert!(printed.len() > PRINTED_BYTES_MAX || printed.parse::<Filter>().as_ref() == Ok(&filter));
    filter.matches(&Anything(&text));
}

/// What is not longer than this can be read again.
const PRINTED_BYTES_MAX: usize = 8 * 1024;

/// Whose every text is the same.
struct Anything<'a>(&'a str);

impl Subject for Anything<'_> {
    fn is(&self, _: Flag) -> bool {
        true
    }

    fn any(&self, _: Field, test: &mut dyn FnMut(&str) -> bool) -> bool {
        test(self.0)
    }

    fn amount(&self, _: Quantity) -> Option<u64> {
        Some(self.0.len() as u64)
    }
}
