//! Which metrics an expression of PromQL asks for.

use std::collections::BTreeSet;

/// Words with a meaning of their own where a metric could stand.
const WORDS: &[&str] = &["and", "bool", "inf", "nan", "offset", "or", "unless"];

/// Behind these, labels are named in parentheses.
const GROUPINGS: &[&str] = &["by", "group_left", "group_right", "ignoring", "on", "without"];

/// The names of the metrics in `expr`.
pub(crate) fn metrics(expr: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = expr.trim_start();
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '{' => behind(rest, '}'),
            '[' => behind(rest, ']'),
            '"' | '\'' => behind_text(&rest[1..], first),
            // Numbers, with their exponents and units.
            '0'..='9' => rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.'),
            _ if is_of_name(first) => {
                let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
                let (name, after) = rest.split_at(end);
                let after = after.trim_start();
                if GROUPINGS.contains(&name) {
                    after.strip_prefix('(').map_or(after, |labels| behind(labels, ')'))
                } else {
                    if !after.starts_with('(') && !followed_by_grouping(after) && !is_word(name) {
                        names.insert(name.to_owned());
                    }
                    after
                }
            }
            other => &rest[other.len_utf8()..],
        }
        .trim_start();
    }
    names
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

fn is_word(name: &str) -> bool {
    WORDS.contains(&name.to_ascii_lowercase().as_str())
}

/// `sum by (label) (…)`: what stands before is an aggregation.
fn followed_by_grouping(after: &str) -> bool {
    let end = after.find(|c| !is_of_name(c)).unwrap_or(after.len());
    ["by", "without"].contains(&&after[..end])
}

/// What follows the next `end` that is in no text.
fn behind(mut rest: &str, end: char) -> &str {
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        if first == end {
            return rest;
        }
        if first == '"' || first == '\'' {
            rest = behind_text(rest, first);
        }
    }
    rest
}

/// What follows the end of a text that begins here.
fn behind_text(mut rest: &str, quote: char) -> &str {
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        if first == quote {
            return rest;
        }
        if first == '\\' {
            rest = rest.chars().next().map_or(rest, |c| &rest[c.len_utf8()..]);
        }
    }
    rest
}

#[test]
fn metrics_are_told_from_labels_functions_and_words() {
    for (expr, wanted) in [
        ("up{job=\"a}b\"} == 0", vec!["up"]),
        ("sum by (le, node) (rate(a_total{x=~\"y\"}[5m])) > 100e6", vec!["a_total"]),
        ("a unless on (job, instance) b{c=\"d\"}", vec!["a", "b"]),
        ("sum without (reason) (a) / (b > 0) > 0.8", vec!["a", "b"]),
        ("sum(a) by (x) / on (y) group_left () max by (z) (b offset 5m)", vec!["a", "b"]),
        ("count(a{b=\"\\\"\"}) or vector(0)", vec!["a"]),
        ("time() - a < 14 * 86400 and a >= bool 1 or NaN", vec!["a"]),
        (
            "histogram_quantile(0.95, sum by (le, side) (rate(a_bucket{}[$__rate_interval])))",
            vec!["a_bucket"],
        ),
    ] {
        assert_eq!(Vec::from_iter(metrics(expr)), wanted, "{expr}");
    }
}
