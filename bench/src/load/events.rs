//! Reads the messages out of a finished event stream. Kept apart from Shadowcat's own reader on purpose.

/// The data of every event that has some, in order. Comments, ids and priming events (no data) are passed over, an
/// unfinished event at the end is left out.
pub(crate) fn messages(body: &str) -> Vec<String> {
    let mut messages = Vec::new();
    let mut data: Option<String> = None;
    for line in body.split_inclusive('\n') {
        let Some(line) = line.strip_suffix('\n') else { break };
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            messages.extend(data.take().filter(|data| !data.is_empty()));
        } else if let Some(value) = line.strip_prefix("data:") {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => data = Some(value.to_owned()),
            }
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_finished_events_with_data_count() {
        let body = ": hello\n\nid: 1\ndata: \n\nevent: message\r\ndata: {\"a\":1}\r\n\r\ndata:x\ndata: y\n\ndata: cut";
        assert_eq!(messages(body), ["{\"a\":1}", "x\ny"]);
    }
}
