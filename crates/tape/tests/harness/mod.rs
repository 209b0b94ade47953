//! What must hold for any recording. The fuzz targets and the corpus test both call this.

use serde_json::value::RawValue;
use shadowcat_tape::import::{Format, Mapping, Settings, TimeUnit, read};

/// Archives.
pub fn har_import(bytes: &[u8]) {
    import(bytes, &Format::Har { url: None });
}

/// Exports of the MCP Inspector.
pub fn inspector_import(bytes: &[u8]) {
    import(bytes, &Format::Inspector);
}

/// Our own export, and the log of another tool.
pub fn jsonl_import(bytes: &[u8]) {
    import(bytes, &Format::Jsonl(None));
    let mapping = Mapping {
        message: "data.message".to_owned(),
        direction: "dir".to_owned(),
        to_server: vec!["in".to_owned()],
        to_client: vec!["out".to_owned()],
        time: "ts".to_owned(),
        time_unit: TimeUnit::Millis,
        session: Some("sid".to_owned()),
        transport: "http".to_owned(),
    };
    import(bytes, &Format::Jsonl(Some(mapping)));
}

/// An import ends, and what it gives are whole messages on one line, in order.
fn import(bytes: &[u8], format: &Format) {
    // Our own export says itself what its numbers are.
    let is_numbered = *format != Format::Jsonl(None);
    for skip_bad in [false, true] {
        let settings = Settings { format: format.clone(), skip_bad, redact: true };
        let (mut count, mut at_us) = (0, 0);
        let done = read(bytes, &settings, &mut |frame| {
            count += 1;
            assert!(!is_numbered || (frame.seq == count && frame.at_us >= at_us));
            at_us = frame.at_us;
            assert!(!frame.message.contains(['\n', '\r']));
            assert!(serde_json::from_str::<&RawValue>(&frame.message).is_ok());
            Ok(())
        });
        if let Ok(imported) = done {
            assert_eq!(imported.messages, count);
            assert!(skip_bad || imported.bad == 0);
        }
    }
}
