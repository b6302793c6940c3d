//! Client keys and tokens as text: how new ones are made up, and what is kept of a client key. It knows neither store nor wire.

use chacha20poly1305::aead::{OsRng, rand_core::RngCore as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What every made-up client key begins with, so that scanners for leaked secrets find it.
const PREFIX: &str = "sb_";

/// What every made-up admin token begins with. The second `_` tells it from a client key, which has one.
const ADMIN_PREFIX: &str = "sb_admin_";

/// Random characters in a key or token: 43 x log2(62) is just above 256 bits.
const RANDOM_CHARACTERS: usize = 43;

/// Base-62 characters that hold a CRC-32.
const CHECKSUM_CHARACTERS: usize = 6;

/// Random characters of an admin token that are shown besides its prefix.
const SHOWN_OF_ADMIN: usize = 4;

/// Characters of a key that are shown to recognise it by. Shorter keys show at most a quarter of themselves.
const SHOWN_CHARACTERS: usize = 8;

/// Longest key that can be imported, in bytes.
pub const MAX_BYTES: usize = 512;

/// A new client key: `sb_`, 43 random characters, and 6 that are the CRC-32 of all before them.
#[must_use]
pub fn generate() -> SecretString {
    checked(PREFIX)
}

/// A new admin token: `sb_admin_`, 43 random characters, and 6 that are the CRC-32 of all before them.
#[must_use]
pub fn generate_admin() -> SecretString {
    checked(ADMIN_PREFIX)
}

fn checked(prefix: &str) -> SecretString {
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + RANDOM_CHARACTERS + CHECKSUM_CHARACTERS));
    text.push_str(prefix);
    push_random(&mut text);
    let checksum = checksum(&text);
    text.push_str(&checksum);
    text.as_str().into()
}

/// A new token for operators or data planes: 43 random characters.
#[must_use]
pub fn token() -> SecretString {
    let mut text = Zeroizing::new(String::with_capacity(RANDOM_CHARACTERS));
    push_random(&mut text);
    text.as_str().into()
}

/// What is kept of a client key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// SHA-256 of the whole key.
    pub sha256: [u8; 32],
    /// How it begins.
    pub display_prefix: String,
}

impl Fingerprint {
    /// What is kept of an admin token that was made up here.
    #[must_use]
    pub fn of_admin(token: &SecretString) -> Self {
        let token = token.expose_secret();
        let display_prefix = token.chars().take(ADMIN_PREFIX.len() + SHOWN_OF_ADMIN).collect();
        Self { sha256: Sha256::digest(token).into(), display_prefix }
    }

    /// What is kept of this key.
    #[must_use]
    pub fn of(key: &SecretString) -> Self {
        let key = key.expose_secret();
        let shown = SHOWN_CHARACTERS.min(key.len() / 4);
        Self { sha256: Sha256::digest(key).into(), display_prefix: key.chars().take(shown).collect() }
    }
}

/// Whether clients can present this text as a key: 1 to 512 visible ASCII characters.
#[must_use]
pub fn is_presentable(key: &str) -> bool {
    (1..=MAX_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

fn push_random(text: &mut String) {
    let mut left = RANDOM_CHARACTERS;
    while left > 0 {
        let mut bytes = Zeroizing::new([0_u8; 64]);
        OsRng.fill_bytes(bytes.as_mut());
        // Six bits a character; the two values past the end are drawn again, so that every character is equally likely.
        for digit in bytes.iter().filter_map(|byte| DIGITS.get(usize::from(byte & 63))).take(left) {
            text.push(char::from(*digit));
            left -= 1;
        }
    }
}

fn checksum(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes()) as usize;
    let mut characters = [b'0'; CHECKSUM_CHARACTERS];
    for character in characters.iter_mut().rev() {
        *character = DIGITS.get(rest % 62).copied().unwrap_or(b'0');
        rest /= 62;
    }
    characters.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn made_up_keys_have_their_shape_and_differ() {
        let mut seen = BTreeSet::new();
        for _ in 0..1000 {
            let key = generate();
            let key = key.expose_secret();
            assert_eq!(key.len(), 52);
            assert!(key.starts_with("sb_") && is_presentable(key));
            assert!(key[3..].bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert!(seen.insert(key.to_owned()), "a key came twice");
        }
        assert_eq!(token().expose_secret().len(), 43);
    }

    #[test]
    fn the_checksum_of_a_key_covers_all_of_it() {
        let key = generate();
        let (text, sum) = key.expose_secret().split_at(46);
        assert_eq!(checksum(text), sum);
        for at in 0..text.len() {
            let mut typo = text.as_bytes().to_vec();
            typo[at] = if typo[at] == b'a' { b'b' } else { b'a' };
            assert_ne!(checksum(std::str::from_utf8(&typo).unwrap()), sum);
        }
        assert_eq!(checksum("123456789"), "3jZRME", "CRC-32 of the check string is cbf43926");
    }

    #[test]
    fn what_is_shown_of_a_key_never_gives_a_short_one_away() {
        let prefix = |key: &str| Fingerprint::of(&key.into()).display_prefix;
        assert_eq!(prefix(&format!("sb_{}", "x".repeat(49))), "sb_xxxxx");
        assert_eq!(prefix("sk-short"), "sk");
        assert_eq!(prefix("abc"), "");
    }

    #[test]
    fn only_visible_ascii_can_be_presented() {
        for good in ["a", "sk-abc.DEF_123!", &"k".repeat(512)] {
            assert!(is_presentable(good));
        }
        for bad in ["", " ", "a b", "a\n", "schlüssel", &"k".repeat(513)] {
            assert!(!is_presentable(bad));
        }
    }
}
