//! What a filter can ask of a message.

/// A message, or a call: a message together with what came back.
///
/// What is not known about it fits nothing.
pub trait Subject {
    /// Whether it is of this kind.
    fn is(&self, flag: Flag) -> bool;

    /// Whether any of its texts of this field passes the test. Fields with several texts pass with one of them.
    fn any(&self, field: Field, test: &mut dyn FnMut(&str) -> bool) -> bool;

    /// This quantity of it, where it is known.
    fn amount(&self, quantity: Quantity) -> Option<u64>;
}

/// What is known of some kind of message before one of them is there; none is what only the message says.
pub trait Foresight {
    /// Whether they are all of this kind, or none of them is.
    fn is(&self, flag: Flag) -> Option<bool>;

    /// Whether a text of this field passes the test, of all of them or of none.
    fn any(&self, field: Field, test: &mut dyn FnMut(&str) -> bool) -> Option<bool>;

    /// Whether this quantity is known of all of them, or of none.
    fn is_known(&self, quantity: Quantity) -> Option<bool>;
}

/// What is true of a message or is not. A call is all that its messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// It failed: by a JSON-RPC error, a tool's own error, or a refusal.
    Failed,
    /// It is a request.
    Request,
    /// It is a notification.
    Notification,
    /// It is an answer; a call has one.
    Answer,
    /// It goes to the server; a call was asked of the server.
    ToServer,
    /// It goes to the client; a call was asked of the client.
    ToClient,
}

/// A text of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The method; an answer has that of its request.
    Method,
    /// The name of the tool or prompt, the URI of the resource, the id of the task.
    Name,
    /// What kind of failure: the number of a JSON-RPC error, the word of a refusal, `tool` for a tool's own error.
    Code,
    /// The JSON text of any of its messages.
    Text,
    /// The JSON text of the request or notification.
    AskedText,
    /// The JSON text of the answer.
    AnswerText,
    /// The JSON-RPC id.
    Id,
    /// The tag of the session.
    Session,
    /// Who asks.
    Principal,
    /// The client's transport, revision and era.
    Client,
    /// The upstream's name, transport, revision and era.
    Upstream,
}

impl Field {
    /// Whether patterns are looked for within it; they have to fit the whole of any other field.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::AskedText | Self::AnswerText)
    }
}

/// A quantity of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Microseconds from the request to its answer.
    Took,
    /// Bytes of all its messages.
    Size,
    /// When it passed: microseconds since 1970, UTC.
    Time,
}

/// How much of a call has been heard. What is heard stays true until its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heard {
    /// Who asks: all that is the same for each call of this session.
    Asker,
    /// What is asked, and no answer yet.
    Question,
}

/// What a term asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fact {
    Is(Flag),
    Fits(Field),
    Measures(Quantity),
}

impl Fact {
    /// From when on it is known; none if its end tells.
    pub(crate) fn known_from(self) -> Option<Heard> {
        match self {
            Self::Fits(Field::Session | Field::Principal | Field::Client) => Some(Heard::Asker),
            Self::Is(Flag::Request | Flag::Notification | Flag::ToServer | Flag::ToClient)
            | Self::Fits(Field::Method | Field::Name | Field::AskedText | Field::Id)
            | Self::Measures(Quantity::Time) => Some(Heard::Question),
            Self::Is(Flag::Failed | Flag::Answer)
            | Self::Fits(Field::Code | Field::Text | Field::AnswerText | Field::Upstream)
            | Self::Measures(Quantity::Took | Quantity::Size) => None,
        }
    }
}
