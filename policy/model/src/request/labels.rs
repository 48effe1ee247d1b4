//! Whether the API server can read a label selector (k8s.io/apimachinery/pkg/labels).
//!
//! Only that matters for classification: an unreadable one makes it drop all list options. Works on bytes and treats a
//! zero byte as the end of what it reads, as the Go lexer does.

use super::selector::Unreadable;

/// # Errors
/// The selector is one that `labels.Parse` refuses.
pub(super) fn check(selector: &[u8]) -> Result<(), Unreadable> {
    if selector.is_empty() {
        return Ok(());
    }
    let tokens = Lexer { text: selector, at: 0 }.scan();
    Parser { tokens: &tokens, at: 0 }.parse()
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    End,
    Bad,
    Close,
    Open,
    Comma,
    Not,
    /// `=`, `==` or `!=`.
    Equality,
    /// `<` or `>`.
    Order,
    /// `in` or `notin`.
    Membership(&'static str),
    Word(Vec<u8>),
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
}

impl Lexer<'_> {
    fn scan(mut self) -> Vec<Token> {
        let mut tokens = Vec::new();
        loop {
            let token = self.next_token();
            let done = token == Token::End;
            tokens.push(token);
            if done {
                return tokens;
            }
        }
    }

    /// The next byte, consumed; zero at the end, and for a zero byte in the text.
    fn read(&mut self) -> u8 {
        let byte = self.text.get(self.at).copied();
        self.at += usize::from(byte.is_some());
        byte.unwrap_or(0)
    }

    fn next_token(&mut self) -> Token {
        let mut byte = self.read();
        while matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            byte = self.read();
        }
        if byte == 0 {
            return Token::End;
        }
        self.at -= 1;
        if is_symbol(byte) { self.symbol() } else { self.word() }
    }

    fn word(&mut self) -> Token {
        let mut word = Vec::new();
        loop {
            match self.read() {
                0 => break,
                byte if is_symbol(byte) || matches!(byte, b' ' | b'\t' | b'\r' | b'\n') => {
                    self.at -= 1;
                    break;
                }
                byte => word.push(byte),
            }
        }
        match word.as_slice() {
            b"in" => Token::Membership("in"),
            b"notin" => Token::Membership("notin"),
            _ => Token::Word(word),
        }
    }

    /// The longest symbol; bytes that begin none are swallowed until one is found, as in Go.
    fn symbol(&mut self) -> Token {
        let mut seen = Vec::new();
        let mut found = Token::Bad;
        loop {
            match self.read() {
                0 => return found,
                byte if is_symbol(byte) => {
                    seen.push(byte);
                    match symbol_of(&seen) {
                        Some(token) => found = token,
                        None if found != Token::Bad => {
                            self.at -= 1;
                            return found;
                        }
                        None => {}
                    }
                }
                _ => {
                    self.at -= 1;
                    return found;
                }
            }
        }
    }
}

fn is_symbol(byte: u8) -> bool {
    matches!(byte, b'=' | b'!' | b'(' | b')' | b',' | b'>' | b'<')
}

fn symbol_of(text: &[u8]) -> Option<Token> {
    Some(match text {
        b")" => Token::Close,
        b"(" => Token::Open,
        b"," => Token::Comma,
        b"!" => Token::Not,
        b"==" | b"=" | b"!=" => Token::Equality,
        b">" | b"<" => Token::Order,
        _ => return None,
    })
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Parser<'a> {
    fn parse(mut self) -> Result<(), Unreadable> {
        loop {
            match self.peek() {
                Token::End => return Ok(()),
                Token::Word(_) | Token::Membership(_) | Token::Not => {}
                _ => return Err(Unreadable),
            }
            self.requirement()?;
            match self.take() {
                Token::End => return Ok(()),
                Token::Comma if matches!(self.peek(), Token::Word(_) | Token::Membership(_) | Token::Not) => {}
                _ => return Err(Unreadable),
            }
        }
    }

    fn peek(&self) -> &'a Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn take(&mut self) -> &'a Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<(), Unreadable> {
        let negated = *self.peek() == Token::Not;
        if negated {
            self.take();
        }
        let key = word_of(self.take()).ok_or(Unreadable)?;
        if !is_label_key(key) {
            return Err(Unreadable);
        }
        if negated || matches!(self.peek(), Token::End | Token::Comma) {
            return Ok(());
        }
        match self.take() {
            Token::Membership(_) => self.values(),
            Token::Equality => self.value().and_then(require_label_value),
            Token::Order => {
                let value = self.value()?;
                let number = std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse::<i64>().ok());
                number.ok_or(Unreadable)?;
                require_label_value(value)
            }
            _ => Err(Unreadable),
        }
    }

    /// One value, or none in front of a comma or the end, which means the empty one.
    fn value(&mut self) -> Result<&'a [u8], Unreadable> {
        match self.peek() {
            Token::End | Token::Comma => Ok(b""),
            token => {
                self.take();
                word_of(token).ok_or(Unreadable)
            }
        }
    }

    /// `(a,b,,c)`; the empty value is legal anywhere.
    fn values(&mut self) -> Result<(), Unreadable> {
        if *self.take() != Token::Open {
            return Err(Unreadable);
        }
        if *self.peek() == Token::Close {
            self.take();
            return Ok(());
        }
        loop {
            match self.take() {
                token @ (Token::Word(_) | Token::Membership(_)) => {
                    require_label_value(word_of(token).unwrap_or_default())?;
                    match self.peek() {
                        Token::Comma => {}
                        Token::Close => break,
                        _ => return Err(Unreadable),
                    }
                }
                Token::Comma if *self.peek() == Token::Close => break,
                Token::Comma => {}
                _ => return Err(Unreadable),
            }
        }
        self.take();
        Ok(())
    }
}

/// `in` and `notin` are words where a key or value is expected.
fn word_of(token: &Token) -> Option<&[u8]> {
    match token {
        Token::Word(word) => Some(word),
        Token::Membership(word) => Some(word.as_bytes()),
        _ => None,
    }
}

fn require_label_value(value: &[u8]) -> Result<(), Unreadable> {
    if value.is_empty() || is_name(value) {
        Ok(())
    } else {
        Err(Unreadable)
    }
}

/// `[prefix/]name` with a DNS subdomain as prefix.
fn is_label_key(key: &[u8]) -> bool {
    let mut pieces = key.split(|byte| *byte == b'/');
    match (pieces.next(), pieces.next(), pieces.next()) {
        (Some(name), None, None) => is_name(name),
        (Some(prefix), Some(name), None) => is_subdomain(prefix) && is_name(name),
        _ => false,
    }
}

/// 1 to 63 of `[-A-Za-z0-9_.]`, alphanumeric at both ends.
fn is_name(name: &[u8]) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    name.len() <= 63
        && ends(name.first())
        && ends(name.last())
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_subdomain(text: &[u8]) -> bool {
    let end = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let label = |label: &[u8]| {
        end(label.first())
            && end(label.last())
            && label
                .iter()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
    };
    text.len() <= 253 && text.split(|byte| *byte == b'.').all(label)
}
