//! What a client has seen, in a form in which two runs can be compared.

use std::collections::BTreeMap;

use wire::tag::backend as b;
use wire::{HEADER_LEN, Header, message};

/// Cuts whole frames; panics on a half one, which no run may end with.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let header = Header::peek(bytes).unwrap().expect("a whole header");
        let (frame, rest) = bytes.split_at(header.frame_len());
        frames.push((header.tag, frame[HEADER_LEN..].to_vec()));
        bytes = rest;
    }
    frames
}

/// The frames as lines. ParameterStatus is shown as the values known at each ReadyForQuery:
/// how often a value is reported on the way may differ.
pub(crate) fn lines(bytes: &[u8], startup: &[(&str, &str)]) -> Vec<String> {
    let mut known: BTreeMap<String, String> =
        startup.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut lines = Vec::new();
    for (tag, body) in frames(bytes) {
        match tag {
            b::PARAMETER_STATUS => {
                let (name, value) = message::parameter_status(&body).unwrap();
                known.insert(name.to_owned(), value.to_owned());
            }
            b::READY_FOR_QUERY => {
                lines.push(format!("Z {} {known:?}", String::from_utf8_lossy(&body)));
            }
            _ => {
                let text = String::from_utf8_lossy(&body).replace('\0', "|");
                lines.push(format!("{} {text}", char::from(tag)));
            }
        }
    }
    lines
}

/// The tags alone.
pub(crate) fn tags(bytes: &[u8]) -> String {
    frames(bytes).iter().map(|(tag, _)| char::from(*tag)).collect()
}

/// Each frame as a line.
pub(crate) fn plain_lines(bytes: &[u8]) -> Vec<String> {
    let line = |(tag, body): (u8, Vec<u8>)| {
        format!("{} {}", char::from(tag), String::from_utf8_lossy(&body).replace('\0', "|"))
    };
    frames(bytes).into_iter().map(line).collect()
}
