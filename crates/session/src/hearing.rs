//! LISTEN without a server of one's own.
//!
//! Somebody else, the hub, listens for all clients of a database on one connection. A client's
//! LISTEN still runs on its own server, so that errors, transactions and savepoints are those of
//! Postgres; but first the hub is asked for the channel, so that no notification is missed from
//! the commit on. When the account says that the channel is in effect the server can be let go:
//! LISTEN is one more thing that a server is given with the client's settings, for `UNLISTEN`,
//! `pg_listening_channels()` and what the client sends itself.
//!
//! So a notification comes twice while the client has a server. The server's counts for what the
//! client has sent itself, which must be there before its ReadyForQuery; the hub's for all else.

use wire::message;
use wire::tag::{backend as b, frontend as f};

use crate::deallocate::identifier;
use crate::frame::Frame;
use crate::parameters::LISTEN;
use crate::pins::Pin;
use crate::rules::{Feature, Treatment};
use crate::server::{OwnQuery, ServerState};
use crate::session::{Mode, Session};
use crate::statements::key;
use crate::verdict::{Pass, Then, ToClient, Violation};

/// What a client hears.
#[derive(Debug, Default)]
pub(crate) struct Hearing {
    /// Channels that the hub listens on for it.
    heard: Vec<Box<str>>,
    /// Those on which its own LISTEN is in effect.
    channels: Vec<Box<str>>,
    /// Notifications of its own that a server has told and the hub has not, by the server's
    /// process id.
    told: Vec<(i32, u32)>,
}

impl Session {
    /// Lets the client's LISTEN be the hub's, which the relay asks, if its rules allow.
    #[must_use]
    pub fn sharing_channels(mut self) -> Self {
        self.shares_channels = self.mode == Mode::Transaction
            && self.rules.treatment(Feature::Listen) == Treatment::Replay;
        self
    }

    /// Lets the client be known by this process id, as it was told at its login.
    #[must_use]
    pub fn known_as(mut self, pid: i32) -> Self {
        self.pid = Some(pid);
        self
    }

    /// The channels that the hub must listen on before `frame` may go to a server; mostly none.
    #[inline]
    pub fn unheard(&self, frame: &Frame<'_>) -> Vec<Box<str>> {
        let text = match frame.header.tag {
            f::QUERY => frame.body,
            f::PARSE => frame.body.splitn(2, |&byte| byte == 0).nth(1).unwrap_or_default(),
            _ => return Vec::new(),
        };
        let may_listen = matches!(text.first(), Some(b'l' | b'L' | b'\t'..=b'\r' | b' '));
        if may_listen && self.shares_channels && frame.is_whole() {
            self.unheard_in(text)
        } else {
            Vec::new()
        }
    }

    #[cold]
    fn unheard_in(&self, text: &[u8]) -> Vec<Box<str>> {
        let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
        let is_heard = |channel: &str| {
            self.hearing.as_ref().is_some_and(|hearing| hearing.hears(channel.as_bytes()))
        };
        let mut channels = listened(text).unwrap_or_default();
        channels.retain(|channel| !is_heard(channel));
        channels
    }

    /// The hub listens on these too, from now on.
    pub fn hears(&mut self, channels: Vec<Box<str>>) {
        self.hearing.get_or_insert_default().heard.extend(channels);
    }

    /// No hub listens for this client: it keeps its server when it has sent LISTEN.
    pub fn hears_by_itself(&mut self) {
        self.shares_channels = false;
    }

    /// The channels on which the hub has to go on listening, as each lease ends; `None` if it
    /// listens on them and on no others.
    pub fn channels(&mut self) -> Option<&[Box<str>]> {
        if self.hearing.as_ref().is_some_and(|hearing| hearing.channels.is_empty()) {
            self.hearing = None;
        }
        let Some(hearing) = &mut self.hearing else { return Some(&[]) };
        if hearing.heard == hearing.channels {
            return None;
        }
        hearing.heard.clone_from(&hearing.channels);
        Some(&hearing.channels)
    }

    /// The hub has heard a NotificationResponse (`frame`, header included), while no transaction
    /// of the client's is open. Appends it to `to_client` if the client is to be told.
    pub fn on_heard(&mut self, pid: i32, channel: &[u8], frame: &[u8], to_client: &mut Vec<u8>) {
        let Some(hearing) = &mut self.hearing else { return };
        if !hearing.channels.iter().any(|known| known.as_bytes() == channel) {
            return;
        }
        if let Some(at) = hearing.told.iter().position(|(told, _)| *told == pid)
            && let Some((_, count)) = hearing.told.get_mut(at)
        {
            *count -= 1;
            if *count == 0 {
                hearing.told.swap_remove(at);
            }
            return;
        }
        to_client.extend_from_slice(frame);
    }

    /// The hub was away, and does not know what it has missed.
    pub fn has_missed(&mut self) {
        if let Some(hearing) = &mut self.hearing {
            hearing.told.clear();
        }
    }

    /// What the account says about channels: the SQL that listens on those that the hub has, and
    /// whether there are others.
    pub(crate) fn settle_channels(&mut self, channels: &[String]) -> (Option<String>, bool) {
        let Some(hearing) = &mut self.hearing else { return (None, !channels.is_empty()) };
        let (heard, others): (Vec<&String>, Vec<&String>) =
            channels.iter().partition(|channel| hearing.hears(channel.as_bytes()));
        let heard: Vec<Box<str>> = heard.into_iter().map(|it| it.as_str().into()).collect();
        let sql: Vec<String> = heard.iter().map(|channel| listen(channel)).collect();
        hearing.channels = heard;
        (Some(sql.join("; ")).filter(|sql| !sql.is_empty()), !others.is_empty())
    }

    /// A NotificationResponse of the leased server.
    pub(crate) fn on_notification(
        &mut self,
        frame: &Frame<'_>,
        server: &ServerState,
        to_client: &mut Vec<u8>,
    ) -> Result<ToClient, Violation> {
        let malformed = Violation::Server("a malformed notification");
        let Some((pid, rest)) = frame.body.split_first_chunk() else { return Err(malformed) };
        let pid = i32::from_be_bytes(*pid);
        let channel = rest.split(|&byte| byte == 0).next().unwrap_or_default();
        let own = self.pid.filter(|_| server.pid == Some(pid));
        match &mut self.hearing {
            Some(hearing) if hearing.hears(channel) => {
                if own.is_none() {
                    return Ok(ToClient::SWALLOW);
                }
                hearing.tell(pid);
            }
            // For a client that had the server before.
            _ if matches!(server.own, OwnQuery::Prepare | OwnQuery::Ahead)
                && server.parameters.get(LISTEN).is_some()
                && !server.pins.has(Pin::Listen) =>
            {
                return Ok(ToClient::SWALLOW);
            }
            _ => {}
        }
        let Some(own) = own else { return Ok(ToClient::FORWARD) };
        message::put_header(to_client, b::NOTIFICATION_RESPONSE, frame.header.body_len);
        to_client.extend_from_slice(&own.to_be_bytes());
        to_client.extend_from_slice(rest);
        Ok(ToClient { pass: Pass::Replace, then: Then::Continue })
    }

    /// Whether what drops a channel concerns this client.
    pub(crate) fn has_channels(&self) -> bool {
        self.hearing.is_some()
    }
}

impl Hearing {
    fn hears(&self, channel: &[u8]) -> bool {
        self.heard.iter().any(|heard| heard.as_bytes() == channel)
    }

    fn tell(&mut self, pid: i32) {
        match self.told.iter_mut().find(|(told, _)| *told == pid) {
            Some((_, count)) => *count += 1,
            None => self.told.push((pid, 1)),
        }
    }
}

fn listen(channel: &str) -> String {
    format!("LISTEN \"{}\"", channel.replace('"', "\"\""))
}

/// The channels of a text that has nothing in it but LISTEN; `None` if there is more, or a name
/// that is not in ASCII, whose bytes would not be the same in every encoding.
fn listened(text: &[u8]) -> Option<Vec<Box<str>>> {
    let mut channels = Vec::new();
    let mut rest = text.trim_ascii();
    while !rest.is_empty() {
        let (word, behind) = rest.split_at_checked(b"listen".len())?;
        let is_apart =
            matches!(behind.first(), Some(byte) if byte.is_ascii_whitespace() || *byte == b'"');
        if !word.eq_ignore_ascii_case(b"listen") || !is_apart {
            return None;
        }
        let (name, behind) = identifier(behind.trim_ascii_start())?;
        let name = str::from_utf8(key(&name)).ok()?;
        if name.is_empty() || !name.is_ascii() {
            return None;
        }
        channels.push(name.into());
        let behind = behind.trim_ascii_start();
        rest = match behind.strip_prefix(b";") {
            Some(behind) => behind.trim_ascii_start(),
            None if behind.is_empty() => behind,
            None => return None,
        };
    }
    Some(channels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_read_as_postgres_reads_them() {
        for (sql, channels) in [
            ("LISTEN news", Some(vec!["news"])),
            (" listen\n News ;", Some(vec!["news"])),
            ("Listen \"A \"\"b\"; listen c;", Some(vec!["A \"b", "c"])),
            ("listen\"x\"", Some(vec!["x"])),
            ("listen a; select 1", None),
            ("listen a b", None),
            ("listen", None),
            ("listen;", None),
            ("listener a", None),
            ("listen é", None),
            ("listen a -- b", None),
            ("load 'x'", None),
        ] {
            let read = listened(sql.as_bytes());
            let read = read.as_ref().map(|all| all.iter().map(|it| &**it).collect::<Vec<_>>());
            assert_eq!(read, channels, "{sql}");
        }
        let long = format!("listen {}", "x".repeat(70));
        assert_eq!(listened(long.as_bytes()).unwrap()[0].len(), 63);
    }
}
