//! How things look: in colours, or without.

use ratatui::style::{Color, Modifier, Style};

/// The styles of the view. Without colours all that they say is said by words too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    is_colored: bool,
}

impl Paint {
    pub(crate) fn new(is_colored: bool) -> Self {
        Self { is_colored }
    }

    fn color(self, color: Color) -> Style {
        if self.is_colored { Style::new().fg(color) } else { Style::new() }
    }

    /// The first line of the screen, the line of what is selected, the place that is wrong.
    pub(crate) fn bar() -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(crate) fn heading() -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(crate) fn aside(self) -> Style {
        self.color(Color::DarkGray)
    }

    pub(crate) fn failure(self) -> Style {
        self.color(Color::Red)
    }

    pub(crate) fn doubt(self) -> Style {
        self.color(Color::Yellow)
    }

    pub(crate) fn held(self) -> Style {
        self.color(Color::Magenta).add_modifier(Modifier::BOLD)
    }

    pub(crate) fn key(self) -> Style {
        self.color(Color::Cyan).add_modifier(Modifier::BOLD)
    }
}
