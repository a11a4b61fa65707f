//! Running a command to its end, with a deadline.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::{Error, Interrupt, until};

/// Runs `command`, feeds it `input` and returns what it wrote to standard output.
///
/// # Errors
/// [`Error::Command`] with all output when it fails; [`Error::Timeout`] or [`Error::Interrupted`]
/// after killing it.
pub fn run(
    command: &mut Command,
    input: &str,
    within: Duration,
    interrupt: &Interrupt,
) -> Result<String, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Error::io(format!("start {program}")))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        scope.spawn(move || {
            if let Some(mut stdin) = stdin {
                // A program that ends without reading all of its input says why by its status.
                let _ = stdin.write_all(input.as_bytes());
            }
        });
        let stdout = scope.spawn(move || drain(stdout));
        let stderr = scope.spawn(move || drain(stderr));
        let waited = until(&program, within, interrupt, || {
            child.try_wait().map_err(Error::io(format!("wait for {program}")))
        });
        if waited.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let output = stdout.join().unwrap_or_default();
        let errors = stderr.join().unwrap_or_default();
        let status = waited.map_err(|error| error.with_log(|| format!("{output}{errors}")))?;
        if status.success() {
            Ok(output)
        } else {
            Err(Error::Command { program: program.clone(), status, output: output + &errors })
        }
    })
}

/// Reads to the end; what is not UTF-8 is replaced.
fn drain(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, input: &str, within: Duration) -> Result<String, Error> {
        run(Command::new("sh").args(["-c", script]), input, within, &Interrupt::default())
    }

    #[test]
    fn output_is_returned() {
        assert_eq!(shell("tr a-z A-Z", "hello", Duration::from_secs(10)).unwrap(), "HELLO");
    }

    #[test]
    fn a_failure_shows_both_outputs() {
        let error =
            shell("echo out; echo err >&2; exit 3", "", Duration::from_secs(10)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("out") && text.contains("err") && text.contains('3'), "{text}");
    }

    #[test]
    fn a_deadline_kills() {
        let started = std::time::Instant::now();
        assert!(matches!(shell("exec sleep 60", "", Duration::ZERO), Err(Error::Timeout { .. })));
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
