//! No static holds state: what changes is a value that somebody owns and passes on.

use proc_macro2::TokenTree;
use syn::visit::{self, Visit};
use syn::{Ident, ItemStatic, Macro, StaticMutability, Type};

use super::offence::{Offence, Rule};
use super::source::Source;

/// Types that change behind a shared reference, besides all whose name starts with `Atomic`.
const STATEFUL_TYPES: [&str; 13] = [
    "Cell",
    "ArcSwap",
    "LazyCell",
    "LazyLock",
    "Mutex",
    "Notify",
    "Once",
    "OnceCell",
    "OnceLock",
    "RefCell",
    "RwLock",
    "Semaphore",
    "UnsafeCell",
];

/// Macros that declare statics.
const STATEFUL_MACROS: [&str; 3] = ["thread_local", "lazy_static", "task_local"];

/// Checks one file.
pub(crate) fn check(source: &Source) -> Vec<Offence> {
    let mut look = Look { source, offences: Vec::new() };
    look.visit_file(&source.syntax);
    look.offences
}

struct Look<'a> {
    source: &'a Source,
    offences: Vec<Offence>,
}

impl Look<'_> {
    fn blame(&mut self, name: &Ident, why: &str) {
        self.offences.push(Offence {
            path: self.source.path.clone(),
            line: name.span().start().line,
            rule: Rule::StatefulStatic,
            item: name.to_string(),
            message: format!("static {name} holds state: {why}"),
        });
    }
}

impl<'ast> Visit<'ast> for Look<'_> {
    fn visit_item_static(&mut self, item: &'ast ItemStatic) {
        if matches!(item.mutability, StaticMutability::Mut(_)) {
            self.blame(&item.ident, "mut");
        } else if let Some(found) = stateful(&item.ty) {
            self.blame(&item.ident, &found);
        }
        visit::visit_item_static(self, item);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        let name = call.path.segments.last().map(|it| it.ident.to_string()).unwrap_or_default();
        if STATEFUL_MACROS.contains(&name.as_str()) {
            for declared in declared(call) {
                self.blame(&declared, &format!("{name}!"));
            }
        }
        visit::visit_macro(self, call);
    }
}

/// The first type inside `ty` that can change.
fn stateful(ty: &Type) -> Option<String> {
    struct Names(Vec<String>);
    impl<'ast> Visit<'ast> for Names {
        fn visit_ident(&mut self, ident: &'ast Ident) {
            self.0.push(ident.to_string());
        }
    }
    let mut names = Names(Vec::new());
    names.visit_type(ty);
    names.0.into_iter().find(|it| STATEFUL_TYPES.contains(&it.as_str()) || it.starts_with("Atomic"))
}

/// The names after each `static` (and `ref`) in a macro's arguments.
fn declared(call: &Macro) -> Vec<Ident> {
    let mut names = Vec::new();
    let mut after_static = false;
    for token in call.tokens.clone() {
        match token {
            TokenTree::Ident(word) if word == "static" => after_static = true,
            TokenTree::Ident(word) if word == "ref" || word == "mut" => {}
            TokenTree::Ident(name) if after_static => {
                names.push(name);
                after_static = false;
            }
            _ => after_static = false,
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let source = Source::new("a.rs", text.to_owned()).unwrap();
        check(&source).into_iter().map(|it| it.item).collect()
    }

    #[test]
    fn state_is_found_wherever_it_hides() {
        assert_eq!(names("static mut A: u8 = 0;"), ["A"]);
        assert_eq!(names("static A: AtomicU64 = AtomicU64::new(0);"), ["A"]);
        assert_eq!(names("static A: LazyLock<Vec<u8>> = LazyLock::new(Vec::new);"), ["A"]);
        assert_eq!(names("fn f() { static A: [parking_lot::Mutex<u8>; 2] = X; }"), ["A"]);
        assert_eq!(names("thread_local! { pub static A: u8 = 0; static B: u8 = 0; }"), ["A", "B"]);
        assert_eq!(names("fn f() { std::thread_local! { static A: u8 = 0 } }"), ["A"]);
        assert_eq!(names("lazy_static! { static ref A: u8 = 0; }"), ["A"]);
    }

    #[test]
    fn constants_are_not_state() {
        assert!(names("static A: &str = \"\";\nconst B: AtomicU8 = AtomicU8::new(0);").is_empty());
        assert!(names("static A: [(&'static str, u8); 1] = [(\"\", 0)];").is_empty());
    }
}
