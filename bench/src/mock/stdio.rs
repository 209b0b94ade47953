//! The mock over stdin and stdout: blocking, one thread, no runtime, so that hundreds of children cost little.

use std::io::{self, BufRead, BufReader, Read, Write};

use super::answers::answer;
use crate::wire::Era;

/// Room for the lines that are read in one go.
const READ_BYTES: usize = 64 << 10;
/// Longest line taken; a longer one ends the child, and the load sees what it lost.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Answers until stdin ends.
pub(crate) fn run(out_of_order: bool, speaks: Option<Era>) -> io::Result<()> {
    serve(io::stdin().lock(), io::stdout().lock(), out_of_order, speaks)
}

/// Takes every whole line that has already arrived, answers them, flushes once.
fn serve(
    input: impl Read,
    mut output: impl Write,
    out_of_order: bool,
    speaks: Option<Era>,
) -> io::Result<()> {
    let mut input = BufReader::with_capacity(READ_BYTES, input);
    let mut line = Vec::new();
    loop {
        let mut answered = Vec::new();
        loop {
            line.clear();
            if input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
                return output.flush();
            }
            answered.extend(answer(&line, speaks));
            if !input.buffer().contains(&b'\n') {
                break;
            }
        }
        if out_of_order {
            answered.reverse();
        }
        for message in answered.iter().flat_map(|answers| &answers.messages) {
            output.write_all(message.as_bytes())?;
            output.write_all(b"\n")?;
        }
        output.flush()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Answer, Call};

    #[test]
    fn lines_that_came_together_can_be_answered_last_one_first() {
        let calls = [1, 2, 3].map(|id| Call {
            id,
            canary: format!("c{id}"),
            answer: Answer::Progress,
            era: Era::Legacy,
            bridged: false,
            text_bytes: 10,
        });
        let input: String = calls.iter().map(|call| call.request() + "\n").collect();
        let mut output = Vec::new();
        // The last line ends the input, so the batch is written before the end is seen.
        serve(input.as_bytes(), &mut output, true, None).unwrap();
        let expected: String = calls.iter().rev().flat_map(Call::replies).map(|reply| reply + "\n").collect();
        assert_eq!(String::from_utf8(output).unwrap(), expected);
    }
}
