//! Bech32 (BIP 173) without its limit of 90 characters, as age spells recipients and identities with it.

const CHARACTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const CHECKSUM_LEN: usize = 6;

/// The bytes behind a text with this human-readable part, which is lower case. The text is all lower or all upper case.
pub(super) fn decode(part: &str, text: &str) -> Option<Vec<u8>> {
    let is_mixed =
        text.bytes().any(|byte| byte.is_ascii_lowercase()) && text.bytes().any(|byte| byte.is_ascii_uppercase());
    if is_mixed || !text.is_ascii() {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let data = text.strip_prefix(part)?.strip_prefix('1')?;
    let value = |byte: u8| u8::try_from(CHARACTERS.iter().position(|&one| one == byte)?).ok();
    let values: Vec<u8> = data.bytes().map(value).collect::<Option<_>>()?;
    if checksum(part, &values) != 1 {
        return None;
    }
    let (values, _) = values.split_at_checked(values.len().checked_sub(CHECKSUM_LEN)?)?;
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
    for &value in values {
        held = (held << 5) | u32::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    // What is left over is less than a character, and zero.
    (bits < 5 && held == 0).then_some(bytes)
}

/// The text of these bytes, in lower case.
#[cfg(test)]
pub(super) fn encode(part: &str, bytes: &[u8]) -> String {
    let (mut values, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
    for &byte in bytes {
        held = (held << 8) | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            values.push(u8::try_from((held >> bits) & 31).unwrap());
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        values.push(u8::try_from((held << (5 - bits)) & 31).unwrap());
    }
    let mut whole = values.clone();
    whole.extend([0; CHECKSUM_LEN]);
    let sum = checksum(part, &whole) ^ 1;
    values.extend((0..6).map(|at| u8::try_from((sum >> (5 * (5 - at))) & 31).unwrap()));
    let text: String = values
        .iter()
        .map(|&value| char::from(CHARACTERS[usize::from(value)]))
        .collect();
    format!("{part}1{text}")
}

fn checksum(part: &str, values: &[u8]) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let high = part.bytes().map(|byte| byte >> 5);
    let low = part.bytes().map(|byte| byte & 31);
    let all = high.chain([0]).chain(low).chain(values.iter().copied());
    all.fold(1_u32, |sum, value| {
        let next = ((sum & 0x01ff_ffff) << 5) ^ u32::from(value);
        let terms = GENERATOR
            .iter()
            .enumerate()
            .filter(|(bit, _)| (sum >> (25 + bit)) & 1 == 1);
        terms.fold(next, |next, (_, term)| next ^ term)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_in_one_case_with_its_own_part_and_checksum_alone() {
        let text = encode("age", &[7; 32]);
        assert_eq!(decode("age", &text), Some(vec![7; 32]));
        assert_eq!(decode("age", &text.to_uppercase()), Some(vec![7; 32]));
        assert_eq!(decode("age-secret-key-", &text), None);
        let mixed = text.replacen('a', "A", 1);
        assert_eq!(decode("age", &mixed), None);
        for at in 4..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'q' { b'p' } else { b'q' };
            assert_eq!(
                decode("age", std::str::from_utf8(&other).unwrap()),
                None,
                "character {at}"
            );
        }
        for short in ["age1", "age", "", "age1qqqqq", "agé1qqqqqq"] {
            assert_eq!(decode("age", short), None, "{short}");
        }
    }
}
