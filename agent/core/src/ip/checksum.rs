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
    let words = |bytes: &[u8]| -> Vec<u64> {
        let words = bytes.chunks_exact(2);
        words.map(|word| u64::from(word[0]) << 8 | u64::from(word[1])).collect()
    };
    let gone: u64 = words(before).into_iter().map(|word| u64::from(!(word as u16))).sum();
    let come: u64 = words(after).into_iter().sum();
    !fold(u64::from(!sum) + gone + come)
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
