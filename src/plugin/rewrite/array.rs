//! A streamed JSON array as bytes: what stands between its elements, and where each ends.

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// So many bytes that are no element: white space, commas, the opening bracket.
    Between(usize),
    /// An element of so many bytes.
    Element(usize),
    /// The bracket that closes the array.
    Close,
    /// This is no array, or what follows it: so many bytes and all that come are passed on.
    Foreign,
}

/// Reads an array that comes in pieces.
#[derive(Clone, Debug, Default)]
pub(super) struct Tokens {
    place: Place,
    /// Of the element under way: how far it was read, how deep, and whether inside a string.
    read: usize,
    depth: usize,
    is_in_string: bool,
    is_escaped: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Before,
    Inside,
    Behind,
}

impl Tokens {
    /// The first token of `bytes`; `None` while it is not whole. Called again with more bytes behind those it has seen,
    /// until it gives one; then with what follows that.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Option<Token> {
        if self.read == 0 {
            let white = bytes.iter().take_while(|it| matches!(it, b' ' | b'\t' | b'\n' | b'\r')).count();
            if white > 0 {
                return Some(Token::Between(white));
            }
            return match (self.place, *bytes.first()?) {
                (Place::Before, b'[') => {
                    self.place = Place::Inside;
                    Some(Token::Between(1))
                }
                (Place::Inside, b',') => Some(Token::Between(1)),
                (Place::Inside, b']') => {
                    self.place = Place::Behind;
                    Some(Token::Close)
                }
                (Place::Inside, b'{') => self.element(bytes),
                _ => Some(Token::Foreign),
            };
        }
        self.element(bytes)
    }

    fn element(&mut self, bytes: &[u8]) -> Option<Token> {
        while let Some(&byte) = bytes.get(self.read) {
            self.read += 1;
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.is_in_string => self.is_escaped = true,
                b'"' => self.is_in_string = !self.is_in_string,
                _ if self.is_in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(Token::Element(std::mem::take(&mut self.read)));
                    }
                }
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_read_in_any_pieces() {
        let text = b" [{\"a\":\"]}\\\"\\\\\"}\r\n,\r\n{\"b\":[{}]}\n]\n";
        let expected = [
            Token::Between(1),
            Token::Between(1),
            Token::Element(14),
            Token::Between(2),
            Token::Between(1),
            Token::Between(2),
            Token::Element(10),
            Token::Between(1),
            Token::Close,
            Token::Between(1),
        ];
        for size in 2..text.len() {
            let (mut tokens, mut pending, mut found) = (Tokens::default(), Vec::new(), Vec::new());
            for piece in text.chunks(size) {
                pending.extend_from_slice(piece);
                while let Some(token) = tokens.next(&pending) {
                    let length = match token {
                        Token::Between(length) | Token::Element(length) => length,
                        Token::Close => 1,
                        Token::Foreign => panic!("foreign"),
                    };
                    pending.drain(..length);
                    found.push(token);
                }
            }
            let elements = |tokens: &[Token]| {
                tokens.iter().filter(|it| !matches!(it, Token::Between(_))).copied().collect::<Vec<_>>()
            };
            assert_eq!(elements(&found), elements(&expected), "in pieces of {size}");
            assert!(pending.is_empty());
        }
        for foreign in [b"{}".as_slice(), b"[1", b"[] x"] {
            let (mut tokens, mut rest) = (Tokens::default(), foreign);
            loop {
                match tokens.next(rest) {
                    Some(Token::Between(length)) => rest = &rest[length..],
                    Some(Token::Close) => rest = &rest[1..],
                    other => break assert_eq!(other, Some(Token::Foreign)),
                }
            }
        }
    }
}
