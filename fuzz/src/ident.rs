//! The text of a pg_ident.conf.

use auth::hba::Maps;

use super::hba::Nobody;

/// Maps that can be read can be written, read again, and asked.
///
/// # Panics
/// Something is wrong.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let maps = match Maps::parse(text) {
        Ok(maps) => maps,
        Err(errors) => {
            let told = errors.iter().map(|error| error.to_string().len()).sum::<usize>();
            assert!(!errors.is_empty() && told > 0, "refused without a word");
            return;
        }
    };
    let written: Vec<String> = maps.iter().map(ToString::to_string).collect();
    let again = Maps::parse(&written.join("\n")).expect("what was written is read");
    let rewritten: Vec<String> = again.iter().map(ToString::to_string).collect();
    assert_eq!(written, rewritten, "not its own text");
    for line in maps.iter() {
        for system_user in ["bob", "bob@example.org", ""] {
            let _ = maps.admit(Some(&line.map), system_user, "bob", &Nobody);
        }
    }
}
