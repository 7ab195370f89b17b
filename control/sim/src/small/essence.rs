//! What tells a process from another one that behaves the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A process in words, without its histories, and with the order of its tokens in the place of their numbers: the core
/// only compares them.
pub(super) fn essence(text: &str) -> String {
    let mut left = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(HISTORY) {
        left.push_str(&rest[..at]);
        let block = &rest[at + HISTORY.len()..];
        rest = &block[end_of_block(block)..];
    }
    left.push_str(rest);

    let parts: Vec<(&str, Option<(u64, &str)>)> = left
        .split(TOKEN)
        .map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            (part, part[..digits].parse().ok().map(|number| (number, &part[digits..])))
        })
        .collect();
    let tokens: BTreeSet<u64> =
        parts.iter().skip(1).filter_map(|(_, token)| Some(token.as_ref()?.0)).collect();
    let ranks: BTreeMap<u64, usize> = tokens.into_iter().zip(0..).collect();
    let mut essence = String::with_capacity(left.len());
    for (number, (part, token)) in parts.iter().enumerate() {
        match token {
            Some((token, after)) if number > 0 => {
                write!(essence, "{TOKEN}{}{after}", ranks[token]).expect("a string takes everything");
            }
            _ => essence.push_str(part),
        }
    }
    // The last token is above all others anyway.
    match essence.split_once(LAST_TOKEN) {
        Some((before, after)) => {
            format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => essence,
    }
}

const HISTORY: &str = "history: History {";
const TOKEN: &str = "Token(";
const LAST_TOKEN: &str = "last_token: ";

/// Where a block ends whose opening brace came before.
fn end_of_block(text: &str) -> usize {
    let (mut depth, mut quoted, mut escaped) = (1, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' if !quoted => depth += 1,
            b'}' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::essence;

    #[test]
    fn tokens_are_told_by_their_order_and_histories_not_at_all() {
        let one =
            r#"a: Token(5), history: History { why: "a } in {" , b: {} }, c: Token(9), last_token: 12, d: 5"#;
        let other = r#"a: Token(7), history: History { }, c: Token(30), last_token: 31, d: 5"#;
        assert_eq!(essence(one), essence(other));
        assert_ne!(essence(one), essence(&other.replace("Token(7)", "Token(30)")));
        assert_ne!(essence(one), essence(&other.replace("d: 5", "d: 6")));
    }
}
