//! The `options` startup parameter: a command line for the server process, of which only
//! settings make sense for a client (`pg_split_opts` and `process_postgres_switches`).

use wire::{ErrorMessage, SqlState};

/// Reads `-c name=value`, `-cname=value` and `--name=value`, in order. In a name `-` stands
/// for `_`. A backslash takes the next character as it is, so that values can hold spaces.
///
/// # Errors
/// The FATAL for the first argument that is something else.
pub(crate) fn parse(options: &str) -> Result<Vec<(String, String)>, ErrorMessage> {
    let mut settings = Vec::new();
    let mut arguments = split(options).into_iter();
    while let Some(argument) = arguments.next() {
        let (switch, setting) = if let Some(setting) = argument.strip_prefix("--") {
            ("--", setting.to_owned())
        } else if argument == "-c" {
            ("-c ", arguments.next().ok_or_else(|| unusable(&argument))?)
        } else if let Some(setting) = argument.strip_prefix("-c") {
            ("-c ", setting.to_owned())
        } else {
            return Err(unusable(&argument));
        };
        match setting.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                settings.push((name.replace('-', "_"), value.to_owned()));
            }
            Some(_) => return Err(unusable(&argument)),
            None => return Err(no_value(switch, &setting)),
        }
    }
    Ok(settings)
}

/// Splits at spaces that no backslash precedes. A backslash at the end is dropped.
fn split(options: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut current: Option<String> = None;
    let mut chars = options.chars();
    while let Some(char) = chars.next() {
        // C's isspace(): Rust's leaves the vertical tab out.
        if char.is_ascii_whitespace() || char == '\x0b' {
            arguments.extend(current.take());
            continue;
        }
        let argument = current.get_or_insert_default();
        argument.extend(if char == '\\' { chars.next() } else { Some(char) });
    }
    arguments.extend(current);
    arguments
}

fn unusable(argument: &str) -> ErrorMessage {
    ErrorMessage::fatal(
        SqlState::SYNTAX_ERROR,
        format!("invalid command-line argument for server process: {argument}"),
    )
    .with_hint("Only \"-c name=value\" and \"--name=value\" can be used in options.")
}

fn no_value(switch: &str, name: &str) -> ErrorMessage {
    ErrorMessage::fatal(SqlState::SYNTAX_ERROR, format!("{switch}{name} requires a value"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn options_are_split_and_unescaped_as_postgres_does() {
        let cases: [(&str, &[(&str, &str)]); 9] = [
            ("", &[]),
            (" \t\n", &[]),
            ("-c geqo=off", &[("geqo", "off")]),
            ("-cgeqo=off  --work-mem=4MB", &[("geqo", "off"), ("work_mem", "4MB")]),
            (r"-c search_path=a,\ b", &[("search_path", "a, b")]),
            (r"-c application_name=-c\ x=y", &[("application_name", "-c x=y")]),
            (r"--a.b=c\\d=e+f", &[("a.b", r"c\d=e+f")]),
            (r"-c a=b\", &[("a", "b")]),
            ("-c a= --b=", &[("a", ""), ("b", "")]),
        ];
        for (options, settings) in cases {
            let expected: Vec<_> =
                settings.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect();
            assert_eq!(parse(options), Ok(expected), "{options}");
        }
    }

    #[test]
    fn what_is_no_setting_is_refused_with_its_name() {
        let cases = [
            ("-c", "invalid command-line argument for server process: -c"),
            ("-c geqo", "-c geqo requires a value"),
            ("--geqo", "--geqo requires a value"),
            ("-e", "invalid command-line argument for server process: -e"),
            ("geqo=off", "invalid command-line argument for server process: geqo=off"),
            ("--=x", "invalid command-line argument for server process: --=x"),
            (r"\ ", "invalid command-line argument for server process:  "),
        ];
        for (options, message) in cases {
            let error = parse(options).unwrap_err();
            assert_eq!((&*error.message, error.state.as_str()), (message, "42601"));
        }
    }

    proptest! {
        #[test]
        fn any_value_survives_escaping(
            settings in prop::collection::vec(("[a-z_.]{1,9}", "[^\0]{0,12}"), 0..4)
        ) {
            let mut options = String::new();
            for (name, value) in &settings {
                options.push_str(&format!("-c {name}="));
                for char in value.chars() {
                    options.extend(['\\', char]);
                }
                options.push(' ');
            }
            prop_assert_eq!(parse(&options), Ok(settings));
        }

        #[test]
        fn any_options_are_read_or_refused(options in "[-c=\\\\ a]{0,40}") {
            let _ = parse(&options);
        }
    }
}
