//! The tape: every message of a conversation, one JSON record a line.
//!
//! A [`Tape`] is a file being written. Its [`Recorder`]s stand in the chain, note each message that passes and hand it
//! to one writer thread, which redacts, writes and syncs; a full queue or a full disk costs frames, which are counted
//! in the tape itself, and never an exchange. A [`Reader`] gives the records back and says where a file is damaged.
//! The format is described for other programs in `docs/tape-format.md`.
//!
//! Not here: playing a tape, searching it, and what a command line prints around [`render::line`].
//!
//! | file | holds |
//! |---|---|
//! | `record.rs` | the records as values |
//! | `line/` | a record as a line and back, and the checksum |
//! | `recorder.rs` | the interceptor |
//! | `seen.rs` | what a frame says of a message, and a copy of that for another thread |
//! | `encode.rs` | a message that passed, as a frame |
//! | `feed/` | those who watch what passes |
//! | `queue.rs` | between the data path and the writer thread |
//! | `tape.rs`, `writer.rs`, `spool` | a tape being written: its handle, its thread, its bytes on the way to the disk |
//! | `select/` | which exchanges are recorded, where not all are |
//! | `reel.rs`, `keeper.rs` | the tapes of a run, one after the other, and what becomes of closed ones |
//! | `validate.rs`, `repair.rs` | what is wrong with a tape, and a copy without it |
//! | `edit/` | new tapes from old ones |
//! | `file.rs` | a tape written from frames that are there already |
//! | `redact/` | what must not reach the disk |
//! | `open.rs`, `reader`, `list.rs` | tapes read back, in whatever they are wrapped |
//! | `sealed`, `keys.rs` | encrypted tapes |
//! | `index/` | where in a tape is what |
//! | `calls.rs` | frames joined to calls |
//! | `export/` | tapes in the formats of other tools |
//! | `import/` | recordings of other tools, made tapes |
//! | `outcome.rs` | how an answer turned out |
//! | `subject.rs` | what a filter can ask of a call, and of one message |
//! | `render.rs` | frames and calls as lines for people |

mod calls;
mod clock;
mod edit;
mod encode;
pub mod export;
mod feed;
mod file;
pub mod import;
mod index;
mod keeper;
mod keys;
mod line;
mod list;
mod open;
mod outcome;
mod queue;
mod reader;
mod record;
mod recorder;
mod redact;
mod reel;
pub mod render;
mod repair;
mod sealed;
mod seen;
mod select;
mod spool;
mod subject;
mod tape;
#[cfg(test)]
mod tests;
mod validate;
mod writer;

pub use calls::{Call, Calls};
pub use edit::{EditError, Selection, cut, header, merge, redact};
pub use feed::{Audience, Feed, FullHouse, Shown, Watching};
pub use file::{FileError, TapeFile};
pub use index::{Index, Point, beside as index_beside};
pub use keeper::Keep;
pub use keys::{BadKey, Key, Keys};
pub use list::{Listed, State, files, list};
pub use open::{OpenError, Source, Start, key_of, open, open_at};
pub use outcome::Outcome;
pub use reader::{Place, ReadError, Reader};
pub use record::{
    Action, BadFrame, ClientSide, End, Frame, Header, Kind, Lost, Record, UpstreamSide, message_limits,
};
pub use recorder::Recorder;
pub use redact::{BadSecret, Redacted, Redactor, RedactorError, Secrets};
pub use reel::{Rotate, is_being_written};
pub use repair::{RepairError, Repaired, repair};
pub use select::{Sample, Scope};
pub use subject::Seen;
pub use tape::{CreateError, Health, Monitor, Settings, Stats, Summary, Tap, Tape};
pub use validate::{Fault, FaultKind, Report, validate};
