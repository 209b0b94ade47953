//! What must hold for any recording. The fuzz target and the corpus test both call this.

use serde_json::value::RawValue;
use shadowcat_tape::import::{Format, Settings, read};

/// An import ends, and what it gives are whole messages on one line, in order.
pub fn har_import(bytes: &[u8]) {
    for skip_bad in [false, true] {
        let settings = Settings { format: Format::Har { url: None }, skip_bad, redact: true };
        let (mut seq, mut at_us) = (0, 0);
        let done = read(bytes, &settings, &mut |frame| {
            assert!(frame.seq > seq && frame.at_us >= at_us);
            (seq, at_us) = (frame.seq, frame.at_us);
            assert!(!frame.message.contains(['\n', '\r']));
            assert!(serde_json::from_str::<&RawValue>(&frame.message).is_ok());
            Ok(())
        });
        if let Ok(imported) = done {
            assert_eq!(imported.messages, seq);
        }
    }
}
