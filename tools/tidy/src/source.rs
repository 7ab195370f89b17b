//! Splits Rust text into code and comments, line by line, so that rules do not fire on strings.
//!
//! Not a parser: it knows comments, strings, raw strings, characters and lifetimes, and nothing else.

/// A file with its comments and the insides of its strings taken out of the code.
pub struct Source {
    /// One entry per line: code with strings emptied and comments blanked.
    pub code: Vec<String>,
    /// One entry per line: what its comments say, with their slashes.
    pub comments: Vec<String>,
}

enum State {
    Code,
    LineComment,
    /// Nesting depth.
    BlockComment(u32),
    /// Number of `#` of a raw string; `None` for a string with escapes.
    Text(Option<usize>),
}

impl Source {
    /// Reads `text` from the first character to the last.
    pub fn new(text: &str) -> Source {
        let chars: Vec<char> = text.chars().collect();
        let mut source = Source { code: vec![String::new()], comments: vec![String::new()] };
        let mut state = State::Code;
        let mut at = 0;
        while at < chars.len() {
            if chars[at] == '\n' {
                if matches!(state, State::LineComment) {
                    state = State::Code;
                }
                source.code.push(String::new());
                source.comments.push(String::new());
                at += 1;
                continue;
            }
            let (next, used) = source.step(state, &chars[at..]);
            state = next;
            at += used;
        }
        source
    }

    /// Takes one token of `rest` and says in which state and how many characters later to go on.
    fn step(&mut self, state: State, rest: &[char]) -> (State, usize) {
        match state {
            State::Code => self.code_step(rest),
            State::LineComment => {
                self.comment(rest[0]);
                (State::LineComment, 1)
            }
            State::BlockComment(depth) => {
                self.comment(rest[0]);
                match rest {
                    ['*', '/', ..] if depth == 1 => (State::Code, 2),
                    ['*', '/', ..] => (State::BlockComment(depth - 1), 2),
                    ['/', '*', ..] => (State::BlockComment(depth + 1), 2),
                    _ => (State::BlockComment(depth), 1),
                }
            }
            // An escaped line end stays for the loop above, which counts lines.
            State::Text(None) if rest[0] == '\\' && rest.get(1) != Some(&'\n') => (State::Text(None), 2),
            State::Text(hashes) => {
                let needed = hashes.unwrap_or(0);
                let closed =
                    rest[0] == '"' && rest.iter().skip(1).take_while(|c| **c == '#').count() >= needed;
                if closed {
                    self.push('"');
                    return (State::Code, 1 + needed);
                }
                (State::Text(hashes), 1)
            }
        }
    }

    fn code_step(&mut self, rest: &[char]) -> (State, usize) {
        match rest {
            ['/', '/', ..] => {
                self.comment('/');
                (State::LineComment, 1)
            }
            ['/', '*', ..] => (State::BlockComment(1), 2),
            ['"', ..] => {
                self.push('"');
                (State::Text(None), 1)
            }
            ['r', '"' | '#', ..] if !self.in_word() => self.raw_string(rest),
            ['b', 'r', '"' | '#', ..] if !self.in_word() => {
                let (state, used) = self.raw_string(&rest[1..]);
                (state, used + 1)
            }
            ['\'', ..] => self.quote(rest),
            [c, ..] => {
                self.push(*c);
                (State::Code, 1)
            }
            [] => (State::Code, 1),
        }
    }

    /// `r"`, `r#"`, or a raw identifier such as `r#type`.
    fn raw_string(&mut self, rest: &[char]) -> (State, usize) {
        let hashes = rest.iter().skip(1).take_while(|c| **c == '#').count();
        if rest.get(1 + hashes) == Some(&'"') {
            self.push('"');
            return (State::Text(Some(hashes)), 2 + hashes);
        }
        self.push(rest[0]);
        (State::Code, 1)
    }

    /// A character literal, or the tick of a lifetime or loop label.
    fn quote(&mut self, rest: &[char]) -> (State, usize) {
        let used = match rest {
            ['\'', '\\', ..] => rest.iter().skip(3).position(|c| *c == '\'').map_or(1, |after| after + 4),
            ['\'', _, '\'', ..] => 3,
            _ => 1,
        };
        self.push('\'');
        (State::Code, used)
    }

    fn in_word(&self) -> bool {
        let last = self.code.last().and_then(|line| line.chars().next_back());
        last.is_some_and(|c| c.is_alphanumeric() || c == '_')
    }

    fn push(&mut self, c: char) {
        self.code.last_mut().expect("there is always a current line").push(c);
    }

    fn comment(&mut self, c: char) {
        self.comments.last_mut().expect("there is always a current line").push(c);
    }

    /// Last line of the block that opens at or after `line`, both counted from 0; `None` when a
    /// semicolon comes first, as in a trait, or the text ends.
    pub fn block_end(&self, line: usize, column: usize) -> Option<usize> {
        let (mut braces, mut brackets) = (0_i32, 0_i32);
        for (index, text) in self.code.iter().enumerate().skip(line) {
            let start = if index == line { column } else { 0 };
            for c in text.get(start..)?.chars() {
                match c {
                    '{' => braces += 1,
                    '}' => braces -= 1,
                    '(' | '[' => brackets += 1,
                    ')' | ']' => brackets -= 1,
                    ';' if braces == 0 && brackets == 0 => return None,
                    _ => {}
                }
                if c == '}' && braces == 0 {
                    return Some(index);
                }
            }
        }
        None
    }

    /// For each line, whether it is inside a block marked `#[cfg(test)]`.
    pub fn test_lines(&self) -> Vec<bool> {
        let mut test = vec![false; self.code.len()];
        for (index, text) in self.code.iter().enumerate() {
            if let Some(column) = text.find("#[cfg(test)]") {
                let after = column + "#[cfg(test)]".len();
                let end = self.block_end(index, after).unwrap_or(index + 1);
                for line in test.iter_mut().take(end + 1).skip(index) {
                    *line = true;
                }
            }
        }
        test
    }
}

/// Columns at which `word` stands in `line` as a word of its own.
pub fn words<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = line[..*at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
    })
}
