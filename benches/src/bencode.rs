//! Bencode (BEP 3): how rtpengine's control protocol writes dictionaries.

use std::collections::BTreeMap;

/// Nesting deeper than this is refused.
const DEPTH_MAX: usize = 32;

/// A bencoded value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `i42e`
    Integer(i64),
    /// `4:spam`
    Text(Vec<u8>),
    /// `l…e`
    List(Vec<Value>),
    /// `d…e`, keys in order
    Dictionary(BTreeMap<Vec<u8>, Value>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.as_bytes().to_vec())
    }
}

/// A dictionary from names and values.
pub fn dictionary<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    Value::Dictionary(entries.into_iter().map(|(key, value)| (key.as_bytes().to_vec(), value)).collect())
}

impl Value {
    /// Appends the bencoded form.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Integer(number) => out.extend(format!("i{number}e").as_bytes()),
            Value::Text(text) => write_text(text, out),
            Value::List(values) => {
                out.push(b'l');
                values.iter().for_each(|value| value.write(out));
                out.push(b'e');
            }
            Value::Dictionary(entries) => {
                out.push(b'd');
                for (key, value) in entries {
                    write_text(key, out);
                    value.write(out);
                }
                out.push(b'e');
            }
        }
    }

    /// Reads one value that takes up all of `bytes`; none when malformed.
    pub fn read(bytes: &[u8]) -> Option<Value> {
        let (value, rest) = read_value(bytes, 0)?;
        rest.is_empty().then_some(value)
    }

    /// A text of a dictionary.
    pub fn text(&self, key: &str) -> Option<&str> {
        let Value::Dictionary(entries) = self else { return None };
        match entries.get(key.as_bytes())? {
            Value::Text(text) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }
}

fn write_text(text: &[u8], out: &mut Vec<u8>) {
    out.extend(format!("{}:", text.len()).as_bytes());
    out.extend(text);
}

fn read_value(bytes: &[u8], depth: usize) -> Option<(Value, &[u8])> {
    if depth > DEPTH_MAX {
        return None;
    }
    match bytes.first()? {
        b'i' => {
            let end = bytes.iter().position(|byte| *byte == b'e')?;
            let number = std::str::from_utf8(&bytes[1..end]).ok()?.parse().ok()?;
            Some((Value::Integer(number), &bytes[end + 1..]))
        }
        b'l' => {
            let (mut values, mut rest) = (Vec::new(), &bytes[1..]);
            while *rest.first()? != b'e' {
                let (value, after) = read_value(rest, depth + 1)?;
                values.push(value);
                rest = after;
            }
            Some((Value::List(values), &rest[1..]))
        }
        b'd' => {
            let (mut entries, mut rest) = (BTreeMap::new(), &bytes[1..]);
            while *rest.first()? != b'e' {
                let (key, after) = read_text(rest)?;
                let (value, after) = read_value(after, depth + 1)?;
                entries.insert(key, value);
                rest = after;
            }
            Some((Value::Dictionary(entries), &rest[1..]))
        }
        _ => read_text(bytes).map(|(text, rest)| (Value::Text(text), rest)),
    }
}

fn read_text(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let len: usize = std::str::from_utf8(&bytes[..colon]).ok()?.parse().ok()?;
    let (text, rest) = bytes[colon + 1..].split_at_checked(len)?;
    Some((text.to_vec(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_in_order_and_read_back() {
        let value = dictionary([
            ("zoo", Value::List(vec![Value::Integer(-3), "a:b".into()])),
            ("command", "ping".into()),
        ]);
        let mut bytes = Vec::new();
        value.write(&mut bytes);
        assert_eq!(bytes, b"d7:command4:ping3:zooli-3e3:a:bee");
        assert_eq!(Value::read(&bytes), Some(value.clone()));
        assert_eq!(value.text("command"), Some("ping"));
        assert_eq!(value.text("zoo"), None);
    }

    #[test]
    fn malformed_bytes_are_refused() {
        for bytes in ["", "i", "ixe", "5:spam", "l", "li1e", "d1:a", "4:spamx", "99999999999999999999:"] {
            assert_eq!(Value::read(bytes.as_bytes()), None, "{bytes}");
        }
        assert_eq!(Value::read("l".repeat(100_000).as_bytes()), None);
    }
}
