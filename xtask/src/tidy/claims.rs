//! docs/security.md names a test for what it says; each of them exists.

use super::offence::{Offence, Rule};
use super::source::Source;

/// The document whose tests are looked for.
pub(crate) const PATH: &str = "docs/security.md";

/// Looks for every test that the document names in backquotes.
pub(crate) fn check(document: &str, sources: &[Source]) -> Vec<Offence> {
    let exists = |name: &str| {
        let function = format!("fn {name}(");
        sources.iter().any(|source| source.text.contains(&function))
    };
    let named = document.lines().enumerate().flat_map(|(index, line)| {
        line.split('`').skip(1).step_by(2).filter(|it| is_test(it)).map(move |it| (index + 1, it))
    });
    named
        .filter(|(_, name)| !exists(name))
        .map(|(line, name)| Offence {
            path: PATH.to_owned(),
            line,
            rule: Rule::Claim,
            item: name.to_owned(),
            message: format!("there is no test {name}"),
        })
        .collect()
}

/// A sentence in small letters: no key of proxy.toml is written without its section there, and
/// no metric begins like a sentence.
fn is_test(text: &str) -> bool {
    let is_name =
        text.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_');
    is_name && text.matches('_').count() > 2 && !text.starts_with("pgmesh_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_is_named_must_be_there() {
        let source = Source::new("a.rs", "fn it_is_really_so() {}".to_owned()).unwrap();
        let text = "| x | `it_is_really_so`, `a.key_of_it_all` |\n`it_is_not_so_any_more`\n\
                    `pgmesh_a_b_total` `server_lifetime`";
        let offences = check(text, &[source]);
        let found: Vec<_> = offences.iter().map(|it| (it.line, it.item.as_str())).collect();
        assert_eq!(found, [(2, "it_is_not_so_any_more")]);
    }
}
