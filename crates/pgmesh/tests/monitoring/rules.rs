//! The alert rules: what Prometheus' own tools say of them, what they ask for, what they point to.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testbed::{Interrupt, packages, programs};

use crate::known::unknown;
use crate::promql::metrics;

/// For the tests of all rules; they take a second.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is written of one alert: each on a line of its own.
#[derive(Debug)]
struct Alert<'t> {
    name: &'t str,
    expr: &'t str,
    runbook: &'t str,
    text: &'t str,
}

/// The directory that all is in.
pub(crate) fn monitoring() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/monitoring").canonicalize().unwrap()
}

fn read(directory: &str) -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(monitoring().join(directory)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let text = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
    files.iter().map(|path| (path.clone(), text(path))).collect()
}

fn alerts(text: &str) -> Vec<Alert<'_>> {
    let alert = |text| {
        let line = |key: &str| -> &str {
            let mut values = str::lines(text).filter_map(|line| line.trim().strip_prefix(key));
            let value = values.next().unwrap_or_else(|| panic!("{key} in {text}"));
            assert_eq!(values.next(), None, "{key} in {text}");
            value
        };
        let name = str::lines(text).next().unwrap();
        Alert { name, expr: line("expr: "), runbook: line("runbook_url: "), text }
    };
    text.split("- alert: ").skip(1).map(alert).collect()
}

/// The names and expressions of the alerts in one of the files.
pub(crate) fn alert_rules(file: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(monitoring().join("rules").join(file)).unwrap();
    let pair = |alert: Alert<'_>| (alert.name.to_owned(), alert.expr.to_owned());
    alerts(&text).into_iter().map(pair).collect()
}

fn promtool(arguments: &[&str], files: &[(PathBuf, String)]) {
    packages::ensure(&[packages::PROMETHEUS]).unwrap();
    let mut promtool = Command::new(programs::find("promtool").unwrap());
    promtool.args(arguments).args(files.iter().map(|(path, _)| path));
    testbed::run(&mut promtool, "", PATIENCE, &Interrupt::default()).unwrap();
}

#[test]
fn promtool_takes_the_configuration_and_the_rules() {
    promtool(&["check", "config"], &[(monitoring().join("prometheus.yml"), String::new())]);
    promtool(&["check", "rules", "--lint-fatal"], &read("rules"));
}

#[test]
fn the_rules_pass_their_tests() {
    promtool(&["test", "rules"], &read("tests"));
}

#[test]
fn every_alert_is_tested_firing_and_not() {
    let tests: String = read("tests").into_iter().map(|(_, text)| text).collect();
    for (path, text) in read("rules") {
        for Alert { name, .. } in alerts(&text) {
            let expr = format!("- expr: count(ALERTS{{alertname=\"{name}\", ");
            let counts: BTreeSet<bool> = tests
                .split(&expr)
                .skip(1)
                .filter_map(|rest| rest.split_once("value: "))
                .map(|(_, value)| !value.starts_with('0'))
                .collect();
            assert_eq!(counts.len(), 2, "{name} of {}: {counts:?}", path.display());
        }
    }
}

#[test]
fn rules_ask_for_what_there_is_and_say_what_to_do() {
    let runbooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/alerts.md");
    let runbooks = std::fs::read_to_string(runbooks).unwrap();
    let sections: BTreeSet<String> = runbooks
        .lines()
        .filter_map(|line| Some(line.strip_prefix("## ")?.to_ascii_lowercase()))
        .collect();
    let mut pointed_to = BTreeSet::new();
    for (path, text) in read("rules") {
        let alerts = alerts(&text);
        assert!(alerts.len() > 5, "{}", path.display());
        for Alert { name, expr, runbook, text } in alerts {
            let names = metrics(expr);
            assert!(!names.is_empty(), "{name}: {expr}");
            assert_eq!(unknown(&names), Vec::<&String>::new(), "{name}: nobody tells these");
            for key in ["severity: ", "summary: \"", "description: \""] {
                assert!(text.contains(key), "{name} has no {key}");
            }
            let section = runbook.strip_prefix("docs/alerts.md#").unwrap_or_default();
            assert!(sections.contains(section), "{name}: there is no {runbook}");
            pointed_to.insert(section.to_owned());
        }
    }
    assert_eq!(pointed_to, sections, "sections that no alert points to");
}
