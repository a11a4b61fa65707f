//! The excused breaches of rules, each with its reason.

use super::offence::{Offence, Rule};

/// One excused breach.
#[derive(Debug)]
pub(crate) struct Exception {
    rule: Rule,
    /// Relative to the root of the workspace.
    path: &'static str,
    /// The function, the static or the dependency; empty for a whole file.
    item: &'static str,
    /// Why the rule does more harm than good here.
    reason: &'static str,
}

/// All of them.
pub(crate) const EXCEPTIONS: &[Exception] = &[
    Exception {
        rule: Rule::StatefulStatic,
        path: "crates/pgmesh/src/relay/scratch.rs",
        item: "SCRATCH",
        reason: "a read buffer per thread, empty between polls, so that an idle client owns none",
    },
    Exception {
        rule: Rule::StatefulStatic,
        path: "crates/session/src/clues.rs",
        item: "MATCHER",
        reason: "compiled once from constants, read only",
    },
];

/// Takes out what is excused and adds the exceptions that excuse nothing.
pub(crate) fn excuse(offences: Vec<Offence>, exceptions: &[Exception]) -> Vec<Offence> {
    let excuses = |exception: &Exception, offence: &Offence| {
        exception.rule == offence.rule
            && exception.path == offence.path
            && exception.item == offence.item
    };
    let idle: Vec<Offence> = exceptions
        .iter()
        .filter(|exception| !offences.iter().any(|offence| excuses(exception, offence)))
        .map(|Exception { rule, path, item, reason }| Offence {
            path: (*path).to_owned(),
            line: 1,
            rule: Rule::Exception,
            item: (*item).to_owned(),
            message: format!("the exception {rule:?} for '{item}' ({reason}) excuses nothing"),
        })
        .collect();
    let open = offences
        .into_iter()
        .filter(|offence| !exceptions.iter().any(|exception| excuses(exception, offence)));
    open.chain(idle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offence(item: &str) -> Offence {
        Offence {
            path: "a.rs".to_owned(),
            line: 7,
            rule: Rule::FunctionLength,
            item: item.to_owned(),
            message: String::new(),
        }
    }

    const EXCUSED: Exception =
        Exception { rule: Rule::FunctionLength, path: "a.rs", item: "long", reason: "a table" };

    #[test]
    fn only_what_is_named_is_excused() {
        let left = excuse(vec![offence("long"), offence("other")], &[EXCUSED]);
        assert_eq!(left, [offence("other")]);
    }

    #[test]
    fn an_exception_that_excuses_nothing_is_an_offence() {
        let left = excuse(vec![], &[EXCUSED]);
        assert_eq!(left[0].rule, Rule::Exception);
    }
}
