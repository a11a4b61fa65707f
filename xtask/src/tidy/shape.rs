//! Every file says what it is for; files and functions stay short.

use proc_macro2::Span;
use syn::visit::{self, Visit};
use syn::{AttrStyle, Block, ImplItemFn, ItemFn, Signature, TraitItemFn};

use super::offence::{Offence, Rule};
use super::source::Source;

/// Comments, blank lines and tests included.
const FILE_LINES_MAX: usize = 500;

/// From `fn` to the closing brace, both included.
const FUNCTION_LINES_MAX: usize = 70;

/// Checks one file.
pub(crate) fn check(source: &Source) -> Vec<Offence> {
    let mut look = Look { source, offences: Vec::new() };
    let attributes = &source.syntax.attrs;
    let documented = attributes
        .iter()
        .any(|it| matches!(it.style, AttrStyle::Inner(_)) && it.path().is_ident("doc"));
    if !documented {
        look.blame(Rule::ModuleDoc, 1, "", "no //! says what this file is for".to_owned());
    }
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        let message = format!("{lines} lines, at most {FILE_LINES_MAX}");
        look.blame(Rule::FileLength, lines, "", message);
    }
    look.visit_file(&source.syntax);
    look.offences
}

struct Look<'a> {
    source: &'a Source,
    offences: Vec<Offence>,
}

impl Look<'_> {
    fn blame(&mut self, rule: Rule, line: usize, item: &str, message: String) {
        let path = self.source.path.clone();
        self.offences.push(Offence { path, line, rule, item: item.to_owned(), message });
    }

    fn measure(&mut self, signature: &Signature, block: &Block) {
        let start = signature.fn_token.span.start().line;
        let end = Span::end(&block.brace_token.span.close()).line;
        let lines = end - start + 1;
        if lines > FUNCTION_LINES_MAX {
            let name = signature.ident.to_string();
            let message = format!("fn {name} has {lines} lines, at most {FUNCTION_LINES_MAX}");
            self.blame(Rule::FunctionLength, start, &name, message);
        }
    }
}

impl<'ast> Visit<'ast> for Look<'_> {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(block) = &function.default {
            self.measure(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<(Rule, String)> {
        let source = Source::new("a.rs", text.to_owned()).unwrap();
        check(&source).into_iter().map(|it| (it.rule, it.item)).collect()
    }

    /// A function of that many lines.
    fn function(lines: usize) -> String {
        format!("fn f() {{\n{}}}\n", "    g();\n".repeat(lines - 2))
    }

    #[test]
    fn a_file_without_purpose_is_found() {
        assert_eq!(rules("/// Not of the file.\nfn f() {}\n"), [(Rule::ModuleDoc, String::new())]);
        assert!(rules("#![no_std]\n//! Fine.\nfn f() {}\n").is_empty());
    }

    #[test]
    fn a_function_may_have_seventy_lines() {
        assert!(rules(&format!("//! A.\n{}", function(70))).is_empty());
        let long = [(Rule::FunctionLength, "f".to_owned())];
        assert_eq!(rules(&format!("//! A.\n{}", function(71))), long);
        assert_eq!(rules(&format!("//! A.\nimpl A {{\n{}}}\n", function(71))), long);
        assert_eq!(rules(&format!("//! A.\ntrait A {{\n{}}}\n", function(71))), long);
        assert_eq!(rules(&format!("//! A.\nmod a {{ mod b {{\n{}}} }}\n", function(71))), long);
    }

    #[test]
    fn a_file_may_have_five_hundred_lines() {
        let file = |lines: usize| format!("//! A.\n{}", "// b\n".repeat(lines - 1));
        assert!(rules(&file(500)).is_empty());
        assert_eq!(rules(&file(501)), [(Rule::FileLength, String::new())]);
    }
}
