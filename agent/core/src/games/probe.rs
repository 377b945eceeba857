//! Bytes as profiles write them: text, with `\xNN` for what is none.

/// The bytes of `text`; otherwise what is wrong with it, in words.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = if c == '\\' { escaped(&mut chars)? } else { c };
        // TOML 1.1 has `\xNN` itself in "quoted" strings and makes the character of that number of it.
        bytes.push(u8::try_from(c).map_err(|_| format!("{c} is no byte: write its bytes as \\xNN"))?);
    }
    Ok(bytes)
}

fn escaped(chars: &mut std::str::Chars<'_>) -> Result<char, String> {
    match chars.next() {
        Some('x') => {
            let (digits, rest) = chars.as_str().split_at_checked(2).unwrap_or((chars.as_str(), ""));
            let is_hex = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let byte = u8::from_str_radix(digits, 16).ok().filter(|_| is_hex);
            *chars = rest.chars();
            byte.map(char::from)
                .ok_or_else(|| format!("\\x wants two hexadecimal digits after it, not \"{digits}\""))
        }
        Some('\\') => Ok('\\'),
        Some('n') => Ok('\n'),
        Some('r') => Ok('\r'),
        Some('t') => Ok('\t'),
        Some('0') => Ok('\0'),
        other => Err(format!(
            "\\{} means nothing here: \\xNN, \\\\, \\n, \\r, \\t and \\0 do",
            other.map(String::from).unwrap_or_default()
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_stays_and_escapes_become_bytes() {
        assert_eq!(bytes(r"\xff\xFFgetinfo\n").unwrap(), b"\xff\xffgetinfo\n");
        assert_eq!(bytes("\u{ff}\\\\").unwrap(), b"\xff\\");
    }

    #[test]
    fn what_is_no_byte_is_told() {
        for (text, word) in [
            (r"\x4", "two hexadecimal"),
            (r"\x+1", "two"),
            (r"\q", "means nothing"),
            ("é€", "€"),
            ("\\", "\\"),
        ] {
            assert!(bytes(text).unwrap_err().contains(word), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_row_of_bytes_can_be_written(row in prop::collection::vec(any::<u8>(), 0..50)) {
            let text: String = row.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            prop_assert_eq!(bytes(&text).unwrap(), row);
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = bytes(&text);
        }
    }
}
