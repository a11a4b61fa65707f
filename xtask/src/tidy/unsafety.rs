//! No `unsafe`, anywhere: the compiler forbids it where the workspace's lints are inherited, so
//! every crate inherits them; elsewhere, and inside macros, the word itself is looked for.

use proc_macro2::{TokenStream, TokenTree};

use super::offence::{Offence, Rule};
use super::source::{Manifest, Source};

/// Packages that are workspaces of their own, for what they depend on is not ours to build.
const OUTSIDE: [&str; 2] = ["fuzz", "drivers"];

/// Looks for crates that go by lints of their own.
pub(crate) fn check_manifests(manifests: &[Manifest]) -> Vec<Offence> {
    let inherits = |manifest: &Manifest| {
        let lints = manifest.document.get("lints");
        lints.and_then(|lints| lints.get("workspace")?.as_bool()) == Some(true)
    };
    let strays = manifests.iter().filter(|it| !OUTSIDE.contains(&it.name()) && !inherits(it));
    strays
        .map(|manifest| Offence {
            path: manifest.path.clone(),
            line: 1,
            rule: Rule::Unsafe,
            item: manifest.name().to_owned(),
            message: "no [lints] workspace = true, which forbids unsafe code".to_owned(),
        })
        .collect()
}

/// Looks for the word in a file.
pub(crate) fn check_source(source: &Source) -> Vec<Offence> {
    // The file has been parsed as Rust before, so its tokens are tokens.
    let tokens = source.text.parse().unwrap_or_default();
    let mut lines = Vec::new();
    find(tokens, &mut lines);
    lines
        .into_iter()
        .map(|line| Offence {
            path: source.path.clone(),
            line,
            rule: Rule::Unsafe,
            item: String::new(),
            message: "unsafe".to_owned(),
        })
        .collect()
}

fn find(tokens: TokenStream, lines: &mut Vec<usize>) {
    for token in tokens {
        match token {
            TokenTree::Ident(word) if word == "unsafe" => lines.push(word.span().start().line),
            TokenTree::Group(group) => find(group.stream(), lines),
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_found_in_code_attributes_and_macros_and_not_in_texts() {
        let text = "//! unsafe\nfn f() {\n unsafe { g() }\n}\n#[unsafe(no_mangle)]\nfn g() {}\n\
                    m! { x { unsafe } }\nconst T: &str = \"unsafe\"; // unsafe\nfn unsafe_code() {}\n";
        let source = Source::new("a.rs", text.to_owned()).unwrap();
        let lines: Vec<_> = check_source(&source).iter().map(|offence| offence.line).collect();
        assert_eq!(lines, [3, 5, 7]);
    }

    #[test]
    fn a_crate_inherits_the_lints_of_the_workspace() {
        let check = |text: &str| {
            let manifest = Manifest::new("Cargo.toml", text.to_owned()).unwrap();
            check_manifests(&[manifest]).len()
        };
        assert_eq!(check("[package]\nname = \"a\"\n[lints]\nworkspace = true\n"), 0);
        assert_eq!(check("[package]\nname = \"a\"\n[lints]\nworkspace = false\n"), 1);
        assert_eq!(check("[package]\nname = \"a\"\n[lints.rust]\nunsafe_code = \"forbid\"\n"), 1);
        assert_eq!(check("[package]\nname = \"fuzz\"\n"), 0);
    }
}
