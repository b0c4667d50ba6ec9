//! A streamed JSON array taken apart as it comes: what Gemini sends without `alt=sse`.

/// The most bytes that one element may have; a longer one ends the reading.
const MOST_BYTES: usize = 32 << 20;

/// Reads the elements of a top-level array that comes in pieces, cut anywhere. Holds the element under way.
#[derive(Debug, Default)]
pub struct ArraySplitter {
    element: Vec<u8>,
    /// Brackets open within the element.
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing but white space has come.
    #[default]
    Before,
    /// Between the brackets.
    Inside,
    /// Behind the closing bracket, or at something that is no array.
    Over,
}

impl ArraySplitter {
    /// Before the first byte.
    pub fn new() -> ArraySplitter {
        ArraySplitter::default()
    }

    /// Takes the next piece and gives the text of every element that it ends.
    pub fn push(&mut self, piece: &[u8], mut each: impl FnMut(&str)) {
        for &byte in piece {
            match self.state {
                State::Before if byte.is_ascii_whitespace() => {}
                State::Before => self.state = if byte == b'[' { State::Inside } else { State::Over },
                State::Inside => self.take(byte, &mut each),
                State::Over => return,
            }
        }
    }

    fn take(&mut self, byte: u8, each: &mut impl FnMut(&str)) {
        if self.in_string {
            self.in_string = self.is_escaped || byte != b'"';
            self.is_escaped = !self.is_escaped && byte == b'\\';
        } else {
            match byte {
                b'"' => self.in_string = true,
                b'[' | b'{' => self.depth += 1,
                b']' if self.depth == 0 => {
                    self.end(each);
                    self.state = State::Over;
                    return;
                }
                b']' | b'}' => self.depth = self.depth.saturating_sub(1),
                b',' if self.depth == 0 => return self.end(each),
                _ => {}
            }
        }
        if !self.element.is_empty() || !byte.is_ascii_whitespace() {
            self.element.push(byte);
        }
        // An object or a list is whole with its last bracket, whatever follows.
        if self.depth == 0 && !self.in_string && matches!(byte, b'}' | b']') {
            self.end(each);
        }
        if self.element.len() > MOST_BYTES {
            self.element = Vec::new();
            self.state = State::Over;
        }
    }

    fn end(&mut self, each: &mut impl FnMut(&str)) {
        let text = self.element.trim_ascii();
        if !text.is_empty() {
            each(&String::from_utf8_lossy(text));
        }
        self.element.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::json;

    fn split(text: &str, cut: usize) -> Vec<String> {
        let mut splitter = ArraySplitter::new();
        let mut found = Vec::new();
        let (first, rest) = text.as_bytes().split_at(cut.min(text.len()));
        for piece in [first, rest] {
            splitter.push(piece, |element| found.push(element.to_owned()));
        }
        found
    }

    #[test]
    fn an_element_is_given_as_soon_as_it_is_whole() {
        let mut splitter = ArraySplitter::new();
        let mut found = Vec::new();
        splitter.push(b" [{\"a\":\"}]\\\"\"}", |element| found.push(element.to_owned()));
        assert_eq!(found, ["{\"a\":\"}]\\\"\"}"]);
        splitter.push(b"\n,\r\n[1,{}", |element| found.push(element.to_owned()));
        assert_eq!(found.len(), 1);
        splitter.push(b"],2 ] {}", |element| found.push(element.to_owned()));
        assert_eq!(found[1..], ["[1,{}]", "2"]);
        assert_eq!(split("{\"a\":[1]}", 3), [""; 0], "no array");
    }

    proptest! {
        #[test]
        fn any_array_cut_anywhere_gives_what_reading_it_whole_gives(
            elements in prop::collection::vec(prop_oneof![
                Just(r#"{"a":[1,{"b":"],}"}]}"#), Just("[]"), Just("[[],{}]"), Just("{}"), Just("1.5e3"), Just(r#""x\\\",]""#), Just("null"),
            ], 0..8),
            space in "[ \n]{0,2}",
            cut in 0_usize..200,
        ) {
            let text = format!("{space}[{space}{}{space}]{space}", elements.join(&format!("{space},{space}")));
            let whole: Vec<String> = json::elements(&text).unwrap().elements.iter().map(|it| it.text.to_owned()).collect();
            prop_assert_eq!(split(&text, cut), whole);
        }
    }
}
