//! Reads a stream, however long, and tells of each token in it.
//!
//! Memory is one buffer. What begins within [`WINDOW`] bytes of its end is looked at once more bytes have
//! come, so that no token is cut by where the buffer ends. Text in UTF-16 is read as well, where each
//! character has a zero before or behind it.

use std::io::{self, ErrorKind, Read};

use memchr::{memchr_iter, memmem};
use tower_workspace_token::jwt::{MAX_TOKEN_LENGTH, TokenLook, UncheckedClaims};
use zeroize::Zeroizing;

/// Looks for tokens. It has a buffer, so one reads stream after stream.
pub(crate) struct Finder {
    looks: Vec<TokenLook>,
    narrow: memmem::Finder<'static>,
    wide: memmem::Finder<'static>,
    buffer: Box<[u8]>,
}

/// A token in a stream.
pub(crate) struct Sighting<'a> {
    /// Its text, or what there is of it.
    pub(crate) text: Zeroizing<Vec<u8>>,
    /// What it looks like.
    pub(crate) look: &'a TokenLook,
    /// Whether its end is there, too. Without it, it opens nothing.
    pub(crate) is_whole: bool,
    /// The line, from 1: one more than there are newlines before it.
    pub(crate) line: u64,
}

/// How far apart the characters of a text are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stride {
    /// Bytes, as in ASCII and UTF-8.
    Narrow = 1,
    /// UTF-16, whichever byte comes first.
    Wide = 2,
}

impl Finder {
    pub(crate) fn new() -> Self {
        Self::with_buffer(BUFFER)
    }

    fn with_buffer(length: usize) -> Self {
        let looks: Vec<_> = TokenLook::all().collect();
        // That of all kinds, as the library's tests say.
        let start = looks[0].start().as_bytes();
        let mut wide: Vec<u8> = start.iter().flat_map(|byte| [*byte, 0]).collect();
        wide.pop();
        Self {
            narrow: memmem::Finder::new(start).into_owned(),
            wide: memmem::Finder::new(&wide).into_owned(),
            looks,
            buffer: vec![0; length].into(),
        }
    }

    /// Reads `stream` to its end, hands each token to `found` in the order of their beginnings, and returns
    /// how many bytes there were.
    ///
    /// # Errors
    /// The stream cannot be read on; what was found before it is told.
    pub(crate) fn read(
        &mut self,
        stream: &mut impl Read,
        mut found: impl FnMut(Sighting<'_>),
    ) -> io::Result<u64> {
        let (mut filled, mut total, mut line) = (0, 0, 1);
        loop {
            let (outcome, is_over) = loop {
                match stream.read(&mut self.buffer[filled..]) {
                    Ok(0) => break (Ok(()), true),
                    Ok(count) => {
                        filled += count;
                        total += count as u64;
                        if filled == self.buffer.len() {
                            break (Ok(()), false);
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // What came before is looked at all the same.
                    Err(error) => break (Err(error), true),
                }
            };
            let decided = if is_over { filled } else { filled - WINDOW };
            line = self.look(filled, decided, line, &mut found);
            self.buffer.copy_within(decided..filled, 0);
            filled -= decided;
            if is_over {
                return outcome.map(|()| total);
            }
        }
    }

    /// Tells of the tokens in a short text, as in the name of a file.
    pub(crate) fn read_short(&mut self, mut text: &[u8], found: impl FnMut(Sighting<'_>)) {
        // Reading from memory does not fail.
        let _ = self.read(&mut text, found);
    }

    /// Tells of the tokens of the buffer that begin before `decided`; returns the line there.
    fn look(
        &self,
        filled: usize,
        decided: usize,
        mut line: u64,
        found: &mut impl FnMut(Sighting<'_>),
    ) -> u64 {
        let bytes = &self.buffer[..filled];
        let mut counted = 0;
        for (start, stride) in self.starts(bytes) {
            if start >= decided {
                break;
            }
            line += newlines(&bytes[counted..start]);
            counted = start;
            if let Some(sighting) = self.examine(&bytes[start..], stride, line) {
                found(sighting);
            }
        }
        line + newlines(&bytes[counted..decided])
    }

    /// Returns where a token may begin, in order.
    fn starts(&self, bytes: &[u8]) -> Vec<(usize, Stride)> {
        let with = |stride| move |start| (start, stride);
        let mut starts: Vec<_> = self
            .narrow
            .find_iter(bytes)
            .map(with(Stride::Narrow))
            .collect();
        starts.extend(self.wide.find_iter(bytes).map(with(Stride::Wide)));
        starts.sort_unstable();
        starts
    }

    /// Looks at what begins as a token does.
    fn examine(&self, bytes: &[u8], stride: Stride, line: u64) -> Option<Sighting<'_>> {
        let mut text = characters(bytes, stride);
        let head = self.looks[0].start().len() + TokenLook::KEY_ID_LENGTH;
        let is_id = |byte: &u8| is_base64url(*byte);
        if !text.get(..head)?.iter().all(is_id) {
            return None;
        }
        let look = self
            .looks
            .iter()
            .find(|look| text[head..].starts_with(look.end().as_bytes()))?;
        let payload = head + look.end().len();
        let length = text[payload..]
            .iter()
            .take_while(|byte| is_base64url(**byte))
            .count();
        let dot = payload + length;
        let signature = text.get(dot + 1..).unwrap_or_default();
        let signed = signature
            .iter()
            .take_while(|byte| is_base64url(**byte))
            .count();
        let is_whole =
            length > 0 && text.get(dot) == Some(&b'.') && signed >= TokenLook::SIGNATURE_LENGTH;
        text.truncate(match is_whole {
            true => dot + 1 + TokenLook::SIGNATURE_LENGTH,
            false => dot,
        });
        Some(Sighting {
            text,
            look,
            is_whole,
            line,
        })
    }
}

impl Sighting<'_> {
    /// Returns what it says of itself.
    pub(crate) fn claims(&self) -> Option<UncheckedClaims> {
        self.look.unchecked_claims(&self.text)
    }
}

/// Takes as many characters as may be those of a token.
fn characters(bytes: &[u8], stride: Stride) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_TOKEN_LENGTH));
    let mut position = 0;
    while text.len() < MAX_TOKEN_LENGTH
        && let Some(byte) = bytes.get(position)
        && (is_base64url(*byte) || *byte == b'.')
        // The other half of each character but the first, whose own may lie before it.
        && (stride == Stride::Narrow || position == 0 || bytes[position - 1] == 0)
    {
        text.push(*byte);
        position += stride as usize;
    }
    text
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn newlines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}

/// As many bytes as a token may have, in the widest text.
const WINDOW: usize = MAX_TOKEN_LENGTH * Stride::Wide as usize;

/// Large beside the window, which is looked at twice, and small enough for the caches of a processor.
const BUFFER: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = include_str!("../../../tests/vectors/workspace-token-v1.jwt");

    fn token() -> &'static [u8] {
        TOKEN.trim().as_bytes()
    }

    fn wide(text: &[u8], big_endian: bool) -> Vec<u8> {
        let unit = |byte: &u8| match big_endian {
            true => [0, *byte],
            false => [*byte, 0],
        };
        text.iter().flat_map(unit).collect()
    }

    /// Returns the line and the text of what is found, and whether it is whole.
    fn find(mut stream: impl Read) -> Vec<(u64, Vec<u8>, bool)> {
        let mut seen = Vec::new();
        let mut finder = Finder::with_buffer(WINDOW + 4096);
        let read = finder.read(&mut stream, |sighting| {
            seen.push((sighting.line, sighting.text.to_vec(), sighting.is_whole));
        });
        read.unwrap();
        seen
    }

    fn is_found_alone(stream: &[u8]) -> bool {
        let found = find(stream);
        matches!(&*found, [(_, text, true)] if text == token())
    }

    /// Gives out what it has in pieces of odd sizes.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = self.1 % 977 + 13;
            let length = self.1.min(buffer.len());
            self.0.read(&mut buffer[..length])
        }
    }

    #[test]
    fn finds_a_token_whatever_stands_around_it() {
        let token = TOKEN.trim();
        for text in [
            token.to_owned(),
            format!("WORKSPACE_TOKEN_ACME={token}\n"),
            format!("{{\"Authorization\":\"Bearer {token}\"}}"),
            format!("\"{{\\\"token\\\":\\\"{token}\\\"}}\""),
            format!("https://e.com/mcp/acme?token={token}&a=1"),
            format!("x{token}x"),
            format!("{token}\0"),
        ] {
            assert!(is_found_alone(text.as_bytes()), "{}", text.len());
        }
    }

    #[test]
    fn finds_a_token_in_utf_16() {
        for big_endian in [false, true] {
            let text = format!("\u{feff}a\r\nb = \"{}\"\r\n", TOKEN.trim());
            assert!(
                is_found_alone(&wide(text.as_bytes(), big_endian)),
                "{big_endian}"
            );
            assert!(is_found_alone(&wide(token(), big_endian)), "{big_endian}");
        }
        // Every other byte of something else.
        let mut mixed = wide(token(), false);
        mixed[101] = b'x';
        assert!(find(&*mixed).iter().all(|(_, _, is_whole)| !is_whole));
    }

    #[test]
    fn finds_each_of_many_and_says_the_line() {
        let text = format!("a\n{0}{0}\n\n{0}", TOKEN.trim());
        let lines: Vec<_> = find(text.as_bytes())
            .into_iter()
            .map(|(line, _, whole)| (line, whole))
            .collect();
        assert_eq!(lines, [(2, true), (2, true), (4, true)]);
    }

    #[test]
    fn what_is_cut_short_is_told_as_such() {
        let whole = token();
        let dot = whole.iter().rposition(|byte| *byte == b'.').unwrap();
        for (end, rest) in [
            (dot, ""),
            (dot + 1, ""),
            (dot + 43, ""),
            (dot + 20, "\n0000000000000000000000000"),
            (dot - 10, ""),
        ] {
            let text = [&whole[..end], rest.as_bytes()].concat();
            let found = find(&*text);
            assert_eq!(found.len(), 1, "{end}");
            assert!(!found[0].2, "{end}");
        }
        // Nothing of what is secret is there.
        let header = whole.iter().position(|byte| *byte == b'.').unwrap();
        assert!(find(&whole[..header]).is_empty());
        let mut other = whole.to_vec();
        other[header - 3] ^= 1;
        assert!(find(&*other).is_empty());
    }

    #[test]
    fn a_token_is_found_wherever_the_buffer_ends() {
        for before in (0..1024).chain(3500..5000).chain(11_900..12_700) {
            let mut stream = vec![b'\n'; before];
            stream.extend(token());
            stream.extend([b' '; 9000]);
            let found = find(&*stream);
            assert_eq!(found.len(), 1, "{before}");
            assert_eq!(found[0].0, before as u64 + 1);
        }
    }

    #[test]
    fn what_was_read_before_a_failure_is_looked_at() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let mut seen = 0;
        let mut stream = token().chain(Failing);
        assert!(Finder::new().read(&mut stream, |_| seen += 1).is_err());
        assert_eq!(seen, 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn a_planted_token_is_always_found(
            seed in any::<u64>(),
            length in 0_usize..60_000,
            at in any::<prop::sample::Index>(),
            form in 0..3,
            text in any::<bool>(),
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let byte = |random: &mut fastrand::Rng| match text {
                true => random.choice(b"eyJhbGciOiJIUzI1NiIsImtpZCI6. \n\"=").copied().unwrap(),
                false => random.u8(..),
            };
            let mut stream: Vec<u8> = (0..length).map(|_| byte(&mut random)).collect();
            let at = at.index(length + 1);
            let planted = match form {
                0 => token().to_vec(),
                form => wide(token(), form == 2),
            };
            stream.splice(at..at, planted);
            let found = find(Pieces(&stream, 0));
            let newlines = stream[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
            let is_found = found.iter().any(|(line, text, is_whole)| {
                *is_whole && text == token() && *line == newlines + 1
            });
            prop_assert!(is_found);

        }
    }
}
