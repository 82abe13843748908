//! Z85: four bytes as five characters (RFC 32), in which keys are written.

const DIGITS: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// The text of a key.
pub(crate) fn encode(bytes: &[u8; 32]) -> [u8; 40] {
    let mut text = [0; 40];
    let (groups, _) = bytes.as_chunks::<4>();
    for (to, from) in text.chunks_exact_mut(5).zip(groups) {
        let mut value = u32::from_be_bytes(*from);
        for digit in to.iter_mut().rev() {
            *digit = DIGITS[(value % 85) as usize];
            value /= 85;
        }
    }
    text
}

/// The key of a text, or where the first character is that cannot be.
pub(crate) fn decode(text: &[u8; 40]) -> Result<[u8; 32], usize> {
    let mut bytes = [0; 32];
    for (at, (to, from)) in bytes.chunks_exact_mut(4).zip(text.chunks_exact(5)).enumerate() {
        let mut value = 0_u32;
        for (place, character) in from.iter().enumerate() {
            let fault = at * 5 + place;
            let digit = DIGITS.iter().position(|digit| digit == character).ok_or(fault)?;
            let digit = u32::try_from(digit).map_err(|_| fault)?;
            value = value.checked_mul(85).and_then(|v| v.checked_add(digit)).ok_or(fault)?;
        }
        to.copy_from_slice(&value.to_be_bytes());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 32 and the manual of `zmq_curve_keypair`.
    #[test]
    fn the_examples_of_the_manual() {
        let text = b"JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";
        let key = decode(text).unwrap();
        assert_eq!(key[..4], [0x8e, 0x0b, 0xdd, 0x69]);
        assert_eq!(&encode(&key), text);
    }

    #[test]
    fn characters_and_values_that_cannot_be() {
        let mut text = *b"JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";
        text[7] = b'~';
        assert_eq!(decode(&text), Err(7));
        text[5..10].copy_from_slice(b"#####");
        assert_eq!(decode(&text), Err(9), "above four bytes");
    }
}
