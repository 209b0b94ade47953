//! A question at the foot of the screen, and what becomes of what is typed.

use shadowcat_filter::{Filter, ParseError};

use super::{Edit, Line, Model};

/// The line that is typed, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prompt {
    pub(crate) line: Line,
    /// What was wrong with it when it was last entered.
    pub(crate) fault: Option<String>,
}

impl Prompt {
    /// What it asks for.
    pub(crate) const LABEL: &str = "filter: ";

    pub(crate) fn filter(now: Option<&Filter>) -> Self {
        Self { line: Line::new(&now.map(ToString::to_string).unwrap_or_default()), fault: None }
    }
}

impl Model {
    pub(crate) fn edit(&mut self, edit: Edit) {
        if let Some(prompt) = &mut self.prompt {
            prompt.line.edit(edit);
            prompt.fault = None;
        }
    }

    pub(crate) fn cancel(&mut self) {
        self.prompt = None;
    }

    /// Takes what is typed; what is wrong stays open, with the cursor at the place.
    pub(crate) fn submit(&mut self) {
        let Some(mut prompt) = self.prompt.take() else { return };
        match filter(&prompt.line.text()) {
            Ok(filter) => self.set_filter(filter),
            Err(fault) => {
                prompt.line.go_to(fault.column - 1);
                prompt.fault = Some(fault.to_string());
                self.prompt = Some(prompt);
            }
        }
    }
}

/// None for an empty line: all messages.
fn filter(text: &str) -> Result<Option<Filter>, ParseError> {
    if text.trim().is_empty() { Ok(None) } else { text.parse().map(Some) }
}
