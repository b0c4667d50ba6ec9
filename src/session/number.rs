//! JSON numbers by their exact value, whatever their spelling: no double is ever made of one.

/// Writes a number by its exact value; `false`, and nothing written, if its exponent is absurd or it is no number.
pub(super) fn write(text: &str, out: &mut Vec<u8>) -> bool {
    let (sign, unsigned) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    // Eighteen digits: far from the end of an i64, further still from any number in use.
    let Some(exponent) = Some(exponent).filter(|it| it.len() <= 18).and_then(|it| it.parse::<i64>().ok()) else {
        return false;
    };
    if !is_digits(whole) || !is_digits(fraction) {
        return false;
    }
    out.push(b'#');
    let digits_at = out.len();
    out.extend(whole.bytes().chain(fraction.bytes()).skip_while(|&digit| digit == b'0'));
    let mut exponent = exponent - fraction.len() as i64;
    while out.len() > digits_at && out.ends_with(b"0") {
        out.pop();
        exponent += 1;
    }
    if out.len() > digits_at {
        out.push(b'e');
        out.extend_from_slice(itoa::Buffer::new().format(exponent).as_bytes());
        out.extend_from_slice(sign.as_bytes());
    }
    out.push(b';');
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Option<String> {
        let mut out = Vec::new();
        write(text, &mut out).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_number_is_its_digits_and_its_exponent() {
        for (text, expected) in [
            ("0", "#;"),
            ("-0.00e7", "#;"),
            ("1", "#1e0;"),
            ("1.0", "#1e0;"),
            ("10e-1", "#1e0;"),
            ("-1200", "#12e2-;"),
            ("0.00120E+5", "#12e1;"),
            ("123456789012345678901234567890", "#12345678901234567890123456789e1;"),
            ("1e400", "#1e400;"),
        ] {
            assert_eq!(written(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn absurd_exponents_and_other_words_are_left_alone() {
        for text in ["1e99999999999999999999", "1e", "1x", "1.2.3", "1e1e1"] {
            assert_eq!(written(text), None, "{text}");
        }
    }
}
