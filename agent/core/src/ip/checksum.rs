//! The Internet checksum.

/// The Internet checksum (RFC 1071) of parts, of which all but the last have even length.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum = words
        .map(|word| u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0)))
        .sum();
    !fold(sum)
}

/// The checksum after bytes it covers became others (RFC 1624 §3), both of even length.
pub(super) fn corrected(sum: u16, before: &[u8], after: &[u8]) -> u16 {
    let words = |bytes: &'_ [u8]| -> u64 {
        let words = bytes.chunks_exact(2);
        words
            .map(|word| u64::from(u16::from_be_bytes([word[0], word[1]])))
            .sum()
    };
    // The sum of the complements is the complement of each word, of which there are as many as bytes in two.
    let gone = 0xffff * (before.len() as u64 / 2) - words(before);
    let come = words(after);
    !fold(u64::from(!sum) + gone + come)
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
