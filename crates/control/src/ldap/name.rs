//! The names that a user binds with, from its name in Postgres.

/// A user name that cannot be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the user name has a character that has a meaning in LDAP")]
pub(super) struct UnfitName;

/// PostgreSQL refuses these where it searches; here the filter would take them.
const IN_SEARCHES: [char; 5] = ['*', '(', ')', '\\', '/'];

/// What has a meaning where an Active Directory takes a name for a DN, a domain's user or a
/// canonical name.
const IN_PLAIN: [char; 9] = [',', '=', '+', '"', '\\', '<', '>', ';', '/'];

/// Lets through who may be searched for.
pub(super) fn searched(user: &str) -> Result<&str, UnfitName> {
    if user.contains(IN_SEARCHES) { Err(UnfitName) } else { Ok(user) }
}

/// What a simple bind is made with: prefix, user and suffix.
///
/// With a prefix such as `uid=` that is a DN, in which the name is escaped so that it stays one
/// value. Without an equals sign in the prefix it is a name as an Active Directory has it
/// (`DOMAIN\user`, `user@example.com`), where nothing can be escaped.
pub(super) fn bound(prefix: &str, user: &str, suffix: &str) -> Result<String, UnfitName> {
    if prefix.contains('=') {
        return Ok(format!("{prefix}{}{suffix}", escaped(user)));
    }
    let second_domain = suffix.contains('@') && user.contains('@');
    if second_domain || user.contains(IN_PLAIN) || user.contains(char::is_control) {
        return Err(UnfitName);
    }
    Ok(format!("{prefix}{user}{suffix}"))
}

/// A value in a DN (RFC 4514, section 2.4).
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 8);
    let last = value.chars().count().saturating_sub(1);
    for (at, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => out.extend(['\\', character]),
            '#' if at == 0 => out.push_str("\\#"),
            ' ' if at == 0 || at == last => out.push_str("\\ "),
            character if character.is_ascii_control() => {
                out.push_str(&format!("\\{:02x}", u32::from(character)));
            }
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Undoes the escapes of one value, and stops where it ends.
    fn read(text: &str) -> (String, &str) {
        let (mut value, mut rest) = (Vec::new(), text.as_bytes());
        loop {
            match rest {
                [b'\\', special, after @ ..] if b"\"+,;<>\\=# ".contains(special) => {
                    value.push(*special);
                    rest = after;
                }
                [b'\\', high, low, after @ ..] => {
                    let digits = [*high, *low];
                    let digits = std::str::from_utf8(&digits).unwrap();
                    value.push(u8::from_str_radix(digits, 16).unwrap());
                    rest = after;
                }
                [b',' | b'+' | b';', ..] | [] => break,
                [byte, after @ ..] => {
                    assert!(!b"\"<>=\0".contains(byte), "{text}");
                    value.push(*byte);
                    rest = after;
                }
            }
        }
        (String::from_utf8(value).unwrap(), &text[text.len() - rest.len()..])
    }

    #[test]
    fn names_of_an_active_directory_go_as_they_are_or_not_at_all() {
        assert_eq!(bound("", "bob", "@example.com").unwrap(), "bob@example.com");
        assert_eq!(bound("EXAMPLE\\", "bob smith", "").unwrap(), "EXAMPLE\\bob smith");
        assert_eq!(bound("", "bob@example.com", "").unwrap(), "bob@example.com");
        for user in ["a@b", "a\\b", "a,b", "cn=a", "a/b", "a\tb"] {
            assert_eq!(bound("", user, "@example.com"), Err(UnfitName), "{user}");
        }
        for user in ["*", "(", ")", "*)(", "a\\2a", "a/b"] {
            assert_eq!(searched(user), Err(UnfitName), "{user}");
        }
        assert_eq!(searched("o'neil, bob"), Ok("o'neil, bob"));
    }

    proptest! {
        #[test]
        fn a_name_in_a_dn_stays_one_value(user in any::<String>()) {
            let dn = bound("uid=", &user, ",dc=x").unwrap();
            let (value, rest) = read(dn.strip_prefix("uid=").unwrap());
            prop_assert_eq!(value, user);
            prop_assert_eq!(rest, ",dc=x");
        }

        #[test]
        fn a_name_of_specials_stays_one_value(user in "[ #+,;<>=\"\\\\a0\n\u{e9}]{0,6}") {
            let dn = bound("cn=x+uid=", &user, "").unwrap();
            prop_assert_eq!(read(dn.strip_prefix("cn=x+uid=").unwrap()), (user, ""));
        }
    }
}
