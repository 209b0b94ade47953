//! The keys, one table: what each does where, what the help says of it, and what the last line of the screen names.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::model::{Command, Edit, Model, Place, Step};

/// One thing that can be done, and its keys.
pub(crate) struct Binding {
    keys: &'static [KeyCode],
    /// How the help writes the keys.
    pub(crate) written: &'static str,
    pub(crate) command: Command,
    places: &'static [Place],
    pub(crate) meaning: &'static str,
    /// The word in the last line of the screen, if it is named there.
    pub(crate) hint: Option<&'static str>,
}

const LISTS: &[Place] = &[Place::Messages, Place::Sessions, Place::Held];
const EVERYWHERE: &[Place] = &[Place::Messages, Place::Sessions, Place::Held, Place::Message, Place::Help];
const HELD: &[Place] = &[Place::Messages, Place::Held, Place::Message];
const MESSAGES: &[Place] = &[Place::Messages];
const MESSAGE: &[Place] = &[Place::Message];
const NOT_HELP: &[Place] = &[Place::Messages, Place::Sessions, Place::Held, Place::Message];

const fn key(
    written: &'static str,
    keys: &'static [KeyCode],
    places: &'static [Place],
    command: Command,
    meaning: &'static str,
    hint: Option<&'static str>,
) -> Binding {
    Binding { keys, written, command, places, meaning, hint }
}

use KeyCode::Char as C;

/// All keys, in the order in which the help lists them.
pub(crate) static BINDINGS: [Binding; 23] = [
    key(
        "Enter",
        &[KeyCode::Enter],
        LISTS,
        Command::Open,
        "open the message; of a session, its messages",
        Some("open"),
    ),
    key(
        "/",
        &[C('/'), C('f')],
        MESSAGES,
        Command::Filter,
        "show what fits a filter; an empty one shows all",
        Some("filter"),
    ),
    key("Space", &[C(' ')], MESSAGES, Command::Pause, "stand still, or follow what comes", Some("pause")),
    key("w", &[C('w')], MESSAGES, Command::Wire, "show what passed between proxy and server too", None),
    key(
        "Tab",
        &[KeyCode::Tab, KeyCode::BackTab],
        LISTS,
        Command::NextList,
        "the next list: messages, sessions, what waits",
        Some("lists"),
    ),
    key(
        "Tab",
        &[KeyCode::Tab, KeyCode::BackTab],
        MESSAGE,
        Command::OtherPane,
        "the request, the answer",
        Some("other"),
    ),
    key("n", &[C('n')], MESSAGE, Command::NextMessage, "open the next message", Some("next")),
    key("p", &[C('p')], MESSAGE, Command::PreviousMessage, "open the message before", Some("previous")),
    key("b", &[C('b')], HELD, Command::Breakpoint, "hold what fits a filter from now on", Some("hold")),
    key("r", &[C('r')], HELD, Command::Resume, "what waits goes on as it is; approve a call", Some("resume")),
    key("e", &[C('e')], HELD, Command::Edit, "edit what waits in $EDITOR; it goes on so", Some("edit")),
    key("a", &[C('a')], HELD, Command::Answer, "write the answer to what waits in $EDITOR", Some("answer")),
    key(
        "d",
        &[C('d')],
        HELD,
        Command::Drop,
        "drop what waits, without a word; remove a breakpoint",
        Some("drop"),
    ),
    key("x", &[C('x')], HELD, Command::Block, "refuse what waits, for a reason; deny a call", Some("refuse")),
    key("Down j", &[KeyCode::Down, C('j')], EVERYWHERE, Command::Go(Step::Down), "down", None),
    key("Up k", &[KeyCode::Up, C('k')], EVERYWHERE, Command::Go(Step::Up), "up", None),
    key("PgDn", &[KeyCode::PageDown], EVERYWHERE, Command::Go(Step::PageDown), "a page down", None),
    key("PgUp", &[KeyCode::PageUp], EVERYWHERE, Command::Go(Step::PageUp), "a page up", None),
    key("Home g", &[KeyCode::Home, C('g')], EVERYWHERE, Command::Go(Step::First), "to the beginning", None),
    key(
        "End G",
        &[KeyCode::End, C('G')],
        EVERYWHERE,
        Command::Go(Step::Last),
        "to the end; a list follows what comes there",
        None,
    ),
    key(
        "Esc",
        &[KeyCode::Esc, KeyCode::Backspace],
        EVERYWHERE,
        Command::Back,
        "close what is open; else show all again",
        Some("back"),
    ),
    key("?", &[C('?')], NOT_HELP, Command::Help, "all keys", Some("help")),
    key("q", &[C('q')], EVERYWHERE, Command::Quit, "quit; so does Ctrl-C", Some("quit")),
];

/// What else the help says, below the keys.
pub(crate) const HELP_BELOW: [&str; 4] = [
    "",
    "-> goes to the server, <- to the client; ~> was translated between the eras.",
    "What rules did to a message stands behind it in [ ], what waits before.",
    "A filter is written like `~m tools/call & ~t echo & ~e`; the operators are:",
];

/// The lines of the help.
pub(crate) const HELP_LINES: usize = BINDINGS.len() + HELP_BELOW.len() + shadowcat_filter::OPERATORS.len();

/// What a key means there. Ctrl-C quits anywhere.
pub(crate) fn command(place: Place, key: KeyEvent) -> Option<Command> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            C('c') => Some(Command::Quit),
            C('d' | 'f') => Some(Command::Go(Step::PageDown)),
            C('u' | 'b') => Some(Command::Go(Step::PageUp)),
            _ => None,
        };
    }
    let fits = |binding: &&Binding| binding.places.contains(&place) && binding.keys.contains(&key.code);
    BINDINGS.iter().find(fits).map(|binding| binding.command)
}

/// What the last line of the screen names there: in front of something that waits, what can be done about it.
pub(crate) fn hints(model: &Model) -> impl Iterator<Item = (&'static str, &'static str)> {
    let (place, can_act, is_held) = (model.place(), model.can_act, model.held().is_some());
    let is_breakpoint = model.breakpoint().is_some();
    let is_named = move |binding: &&Binding| match binding.command {
        Command::Back | Command::Help | Command::Quit => true,
        Command::Breakpoint => can_act && !is_held,
        Command::Drop => is_held || is_breakpoint,
        _ => (binding.places == HELD) == is_held,
    };
    let here = BINDINGS.iter().filter(move |binding| binding.places.contains(&place));
    here.filter(is_named).filter_map(|binding| Some((binding.written, binding.hint?)))
}

/// What a key does to a line that is being typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    Edit(Edit),
    Submit,
    Cancel,
}

pub(crate) fn typed(key: KeyEvent) -> Option<Typed> {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        C('c') if is_control => Typed::Cancel,
        C('w') if is_control => Typed::Edit(Edit::Word),
        C('u') if is_control => Typed::Edit(Edit::Begin),
        C('a') if is_control => Typed::Edit(Edit::Home),
        C('e') if is_control => Typed::Edit(Edit::End),
        C(_) if is_control => return None,
        C(char) => Typed::Edit(Edit::Insert(char)),
        KeyCode::Backspace => Typed::Edit(Edit::Backspace),
        KeyCode::Delete => Typed::Edit(Edit::Delete),
        KeyCode::Left => Typed::Edit(Edit::Left),
        KeyCode::Right => Typed::Edit(Edit::Right),
        KeyCode::Home => Typed::Edit(Edit::Home),
        KeyCode::End => Typed::Edit(Edit::End),
        KeyCode::Enter => Typed::Submit,
        KeyCode::Esc => Typed::Cancel,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    fn control(letter: char) -> KeyEvent {
        KeyEvent::new(C(letter), KeyModifiers::CONTROL)
    }

    #[test]
    fn each_key_does_what_the_table_says_and_only_there() {
        use Place::{Held, Help, Message, Messages, Sessions};
        for (place, key, expected) in [
            (Messages, plain(KeyCode::Enter), Some(Command::Open)),
            (Message, plain(KeyCode::Enter), None),
            (Messages, plain(C('/')), Some(Command::Filter)),
            (Sessions, plain(C('/')), None),
            (Messages, plain(C(' ')), Some(Command::Pause)),
            (Messages, plain(KeyCode::Tab), Some(Command::NextList)),
            (Message, plain(KeyCode::Tab), Some(Command::OtherPane)),
            (Message, plain(C('n')), Some(Command::NextMessage)),
            (Help, plain(C('j')), Some(Command::Go(Step::Down))),
            (Help, plain(C('?')), None),
            (Help, plain(KeyCode::Esc), Some(Command::Back)),
            (Message, plain(C('q')), Some(Command::Quit)),
            (Message, control('c'), Some(Command::Quit)),
            (Messages, control('d'), Some(Command::Go(Step::PageDown))),
            (Messages, control('q'), None),
            (Messages, plain(C('b')), Some(Command::Breakpoint)),
            (Sessions, plain(C('r')), None),
            (Held, plain(C('r')), Some(Command::Resume)),
            (Message, plain(C('e')), Some(Command::Edit)),
            (Messages, plain(C('d')), Some(Command::Drop)),
            (Messages, plain(C('§')), None),
        ] {
            assert_eq!(command(place, key), expected, "{place:?} {key:?}");
        }
    }

    #[test]
    fn no_key_has_two_meanings_in_one_place() {
        for (index, one) in BINDINGS.iter().enumerate() {
            for other in &BINDINGS[index + 1..] {
                let is_shared = one.places.iter().any(|place| other.places.contains(place))
                    && one.keys.iter().any(|key| other.keys.contains(key));
                assert!(!is_shared, "{} and {}", one.written, other.written);
            }
        }
    }

    #[test]
    fn what_is_typed_is_text_and_its_editing() {
        for (key, expected) in [
            (plain(C('q')), Some(Typed::Edit(Edit::Insert('q')))),
            (KeyEvent::new(C('Q'), KeyModifiers::SHIFT), Some(Typed::Edit(Edit::Insert('Q')))),
            (control('w'), Some(Typed::Edit(Edit::Word))),
            (control('x'), None),
            (control('c'), Some(Typed::Cancel)),
            (plain(KeyCode::Esc), Some(Typed::Cancel)),
            (plain(KeyCode::Enter), Some(Typed::Submit)),
            (plain(KeyCode::F(1)), None),
        ] {
            assert_eq!(typed(key), expected, "{key:?}");
        }
    }
}
