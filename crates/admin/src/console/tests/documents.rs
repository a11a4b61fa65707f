//! docs/console.md has every table with every column, and every verb.

use super::super::help;
use super::super::tables::Show;

const TEXT: &str = include_str!("../../../../../docs/console.md");

fn section(show: Show) -> &'static str {
    let head = format!("### SHOW {}\n", show.word());
    let (_, rest) = TEXT.split_once(&head).unwrap_or_else(|| panic!("no {head}"));
    rest.split("\n##").next().unwrap_or(rest)
}

#[test]
fn every_column_is_documented() {
    for show in Show::ALL {
        let text = match show {
            // They say which columns they share.
            Show::ActiveSockets | Show::Servers => {
                assert!(section(*show).contains("columns of `SHOW"));
                continue;
            }
            Show::Sockets => format!("{}{}", section(Show::Clients), section(*show)),
            show => section(*show).to_owned(),
        };
        for (name, _) in show.columns() {
            assert!(text.contains(&format!("`{name}`")), "{} of SHOW {}", name, show.word());
        }
    }
}

#[test]
fn every_verb_is_documented() {
    for verb in help::VERBS.lines().filter_map(|line| line.split_whitespace().next()) {
        assert!(TEXT.contains(&format!("`{verb}")), "{verb}");
    }
}
