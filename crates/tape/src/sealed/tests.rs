//! What was sealed reads as it was written, and nothing else reads at all.

use std::io::Read as _;

use super::*;
use crate::keys::Keys;
use crate::open::OpenError;

fn key(byte: &str) -> Key {
    Key::parse(&byte.repeat(32)).unwrap()
}

fn keys(key: &Key) -> Keys {
    [key.clone()].into_iter().collect()
}

fn sealed(pieces: &[&[u8]]) -> Vec<u8> {
    let (mut sealing, mut out) = Sealing::new(&key("ab")).unwrap();
    for piece in pieces {
        sealing.seal(piece, &mut out).unwrap();
    }
    out
}

fn opened(bytes: &[u8]) -> Result<(Vec<u8>, Option<std::io::ErrorKind>), OpenError> {
    let keys = keys(&key("ab"));
    let (mut unsealing, _) = Unsealing::new(bytes, &keys)?;
    let mut text = Vec::new();
    let fault = unsealing.read_to_end(&mut text).err().map(|cause| cause.kind());
    Ok((text, fault))
}

#[test]
fn what_is_sealed_reads_as_it_was_written() {
    let long = vec![b'x'; BLOCK_BYTES_MAX + 10];
    let bytes = sealed(&[b"one\n", &long, b"", b"two\n"]);
    assert!(bytes.starts_with(MAGIC));
    assert_eq!(opened(&bytes).unwrap(), ([b"one\n", long.as_slice(), b"two\n"].concat(), None));
}

#[test]
fn a_cut_at_every_byte_is_told_and_leaves_the_blocks_before() {
    let bytes = sealed(&[b"one\n", b"two\n"]);
    let first_line = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let block = HEAD_BYTES + 4 + TAG_BYTES;
    for cut in 0..bytes.len() {
        match opened(&bytes[..cut]) {
            Err(OpenError::FirstLine) => assert!(cut < first_line, "{cut}"),
            Ok((text, fault)) => {
                assert_eq!(text, b"one\ntwo\n"[..4 * ((cut - first_line) / block)]);
                let whole = (cut - first_line).is_multiple_of(block);
                assert_eq!(fault, (!whole).then_some(std::io::ErrorKind::UnexpectedEof), "{cut}");
            }
            Err(other) => panic!("{cut}: {other}"),
        }
    }
}

#[test]
fn every_flipped_bit_is_seen() {
    let bytes = sealed(&[b"one\n", b"two\n"]);
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << bit;
            if let Ok((text, fault)) = opened(&flipped) {
                assert_eq!(fault, Some(std::io::ErrorKind::InvalidData), "byte {place} bit {bit}");
                assert!(b"one\ntwo\n".starts_with(text.as_slice()));
            }
        }
    }
}

#[test]
fn a_block_taken_out_moved_or_brought_from_another_file_is_seen() {
    let bytes = sealed(&[b"one\n", b"two\n"]);
    let other = sealed(&[b"one\n", b"two\n"]);
    let start = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let (line, blocks) = bytes.split_at(start);
    let (one, two) = blocks.split_at(blocks.len() / 2);
    for wrong in [[line, two].concat(), [line, two, one].concat(), [line, &other[start..]].concat()] {
        assert_eq!(opened(&wrong).unwrap(), (Vec::new(), Some(std::io::ErrorKind::InvalidData)));
    }
}

#[test]
fn without_its_key_a_tape_says_which_one_it_needs() {
    let bytes = sealed(&[b"one\n"]);
    let fault = Unsealing::new(bytes.as_slice(), &keys(&key("cd"))).err().unwrap();
    assert!(matches!(&fault, OpenError::Locked { key: id } if *id == key("ab").id()), "{fault}");
}

#[test]
fn a_block_that_was_never_written_gives_its_place_to_another() {
    let (mut sealing, mut out) = Sealing::new(&key("ab")).unwrap();
    let blocks = sealing.blocks();
    sealing.seal(b"never written", &mut Vec::new()).unwrap();
    sealing.rewind(blocks);
    sealing.seal(b"one\n", &mut out).unwrap();
    assert_eq!(opened(&out).unwrap(), (b"one\n".to_vec(), None));
}
