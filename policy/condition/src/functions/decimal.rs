//! Doubles as text and back, as Go's `%g` and `ParseFloat` have them. No decimal arithmetic of our own: digits are Rust's.

/// The shortest form that reads back, with an exponent from 1e-05 down and from 1e+06 up.
pub(super) fn print(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = shortest(value);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

/// As few digits as read back; of two such numbers that are equally near, the one with the even last digit, as in Go.
fn shortest(value: f64) -> String {
    let shortest = format!("{value:e}");
    let digits = shortest
        .bytes()
        .take_while(|b| *b != b'e')
        .filter(u8::is_ascii_digit)
        .count();
    let nearest = format!("{value:.*e}", digits.saturating_sub(1));
    if nearest.parse() == Ok(value) {
        nearest
    } else {
        shortest
    }
}

/// A number in Go's syntax: decimal or hexadecimal, `_` between digits, `Inf`, `NaN`; `None` when it is none or too large.
pub(super) fn read(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.eq_ignore_ascii_case("nan") {
        return (unsigned.len() == text.len()).then_some(f64::NAN);
    }
    if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") {
        return text.parse().ok();
    }
    let plain = without_underscores(unsigned)?;
    let value = match plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        Some(digits) => hexadecimal(digits)?,
        None => plain.parse().ok()?,
    };
    let value: f64 = if text.starts_with('-') { -value } else { value };
    value.is_finite().then_some(value)
}

/// Underscores stand between digits, or behind the `0x`.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    let is_digit = |at: usize| {
        let digit = |byte: &u8| byte.is_ascii_digit() || (hexadecimal && (byte.is_ascii_hexdigit() || at == 1));
        bytes.get(at).is_some_and(digit)
    };
    let placed = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'_')
        .all(|(at, _)| at.checked_sub(1).is_some_and(is_digit) && is_digit(at + 1));
    placed.then(|| text.replace('_', ""))
}

/// An exponent further than any double, with as many digits before it as an expression may have.
const FAR: i64 = 1_000_000;

/// `h.hhhp±d`: the digits as one whole number, what is beyond 64 bits only remembered as being there, and a power of two.
fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let exponent_digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if exponent_digits.is_empty() || !exponent_digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let beyond = if exponent.starts_with('-') { -FAR } else { FAR };
    let exponent: i64 = exponent.parse().unwrap_or(beyond).clamp(-FAR, FAR);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (mut bits, mut shift) = (0_u128, exponent);
    for (digit, of_fraction) in whole.chars().map(|c| (c, 0)).chain(fraction.chars().map(|c| (c, 4))) {
        let digit = u128::from(digit.to_digit(16)?);
        if bits >> 120 == 0 {
            bits = bits << 4 | digit;
            shift -= of_fraction;
        } else {
            bits |= u128::from(digit != 0);
            shift += 4 - of_fraction;
        }
    }
    Some(scaled(bits, shift))
}

/// `bits` times two to the power of `shift`, rounded once, to even.
#[expect(
    clippy::cast_precision_loss,
    reason = "rounding to the nearest double, to even, is what is asked for"
)]
fn scaled(bits: u128, shift: i64) -> f64 {
    if bits == 0 {
        return 0.0;
    }
    let width = 128 - i64::from(bits.leading_zeros());
    // Numbers too small for 53 bits keep fewer: the rest is folded into the last bit kept before the only rounding.
    let kept = (width + shift + 1074).min(53);
    if kept < 0 {
        return 0.0;
    }
    let surplus = width - kept;
    if surplus <= 0 {
        return times_power(bits as f64, shift);
    }
    let (Ok(by), half) = (
        u32::try_from(surplus),
        1_u128.checked_shl(u32::try_from(surplus - 1).unwrap_or(0)).unwrap_or(0),
    ) else {
        return 0.0;
    };
    let top = bits.checked_shr(by).unwrap_or(0);
    let rest = bits - top.checked_shl(by).unwrap_or(0);
    let up = rest > half || (rest == half && top & 1 == 1);
    times_power((top + u128::from(up)) as f64, shift + surplus)
}

/// The number times two to this power, in two steps, as that power itself may be no double. The result is exact.
fn times_power(number: f64, exponent: i64) -> f64 {
    let exponent = i32::try_from(exponent.clamp(-1_200, 1_200)).unwrap_or(0);
    let half = exponent / 2;
    number * 2.0_f64.powi(half) * 2.0_f64.powi(exponent - half)
}
