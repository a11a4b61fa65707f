//! What a script was answered, and how two transcripts differ.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::allowed::{self, Told};
use crate::answer::Answer;

/// What one client was sent in one step.
#[derive(Clone, Debug)]
struct Entry {
    client: usize,
    /// What the step waited for.
    step: String,
    answers: Vec<Answer>,
}

/// All answers of a run, step by step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transcript {
    entries: Vec<Entry>,
    /// Settings as each client was told last.
    told: HashMap<usize, Told>,
}

impl Transcript {
    /// Adds what a step was answered, altered by what is allowed to differ.
    pub(crate) fn push(&mut self, client: usize, step: String, mut answers: Vec<Answer>) {
        for answer in &mut answers {
            for rule in &allowed::RULES {
                (rule.apply)(answer);
            }
        }
        allowed::sort_parameters(&mut answers);
        allowed::drop_repeated_parameters(&mut answers, self.told.entry(client).or_default());
        self.entries.push(Entry { client, step, answers });
    }

    /// Every answer, in order.
    pub(crate) fn answers(&self) -> impl Iterator<Item = &Answer> {
        self.entries.iter().flat_map(|entry| &entry.answers)
    }

    /// The SQLSTATEs of all errors, in order.
    pub(crate) fn errors(&self) -> Vec<&str> {
        let errors = self.answers().filter(|answer| answer.is(b'E'));
        errors.filter_map(|answer| answer.field(b'C')).collect()
    }

    /// Tags of all answers, in order; the end of a connection is `!`.
    pub(crate) fn tags(&self) -> String {
        self.entries.iter().map(|entry| tags(&entry.answers)).collect()
    }

    /// How many rows are this one value.
    pub(crate) fn row(&self, value: &[u8]) -> usize {
        let is_it = |answer: &&Answer| matches!(answer, Answer::Row(values) if *values == [Some(value.to_vec())]);
        self.answers().filter(is_it).count()
    }

    /// Whether a client waited for something that never came.
    pub(crate) fn is_stuck(&self) -> bool {
        self.answers().any(|answer| *answer == Answer::Stuck)
    }

    /// The first step that differs, behind the tags of those before it; `None` if none does.
    pub(crate) fn difference(&self, through: &Self) -> Option<String> {
        let mut same = String::new();
        for (number, direct) in self.entries.iter().enumerate() {
            let Entry { client, step, answers } = direct;
            let others = through.entries.get(number).map_or(&[][..], |entry| &entry.answers);
            let equal = |at| matches!((answers.get(at), others.get(at)), (Some(a), Some(b)) if allowed::equal(a, b));
            let longer = answers.len().max(others.len());
            if let Some(first) = (0..longer).find(|&at| !equal(at)) {
                if allowed::part_ways(answers.get(first), others.get(first)) && !through.is_stuck()
                {
                    return None;
                }
                let mut text = format!("  {same}\n  step {number}, client {client}, {step}:\n");
                for answer in &answers[..first] {
                    let _ = writeln!(text, "      {answer}");
                }
                for (side, rest) in [("direct: ", answers), ("through:", &others.to_vec())] {
                    for answer in rest.iter().skip(first) {
                        let _ = writeln!(text, "    {side} {answer}");
                    }
                }
                return Some(text);
            }
            same += &tags(answers);
            same.push(' ');
        }
        (self.entries.len() != through.entries.len())
            .then(|| format!("  {same}\n  (and further steps)\n"))
    }
}

/// Tags in order; the end of a connection is `!`.
fn tags(answers: &[Answer]) -> String {
    answers.iter().map(|answer| answer.tag().map_or('!', char::from)).collect()
}

impl std::fmt::Display for Transcript {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for Entry { client, step, answers } in &self.entries {
            writeln!(f, "  client {client}, {step}:")?;
            for answer in answers {
                writeln!(f, "      {answer}")?;
            }
        }
        Ok(())
    }
}
