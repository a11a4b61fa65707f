//! State that a rule refuses: before a server has seen the statement, or, where only the server
//! could know, behind it.
//!
//! Of a client that has a server something that must fail goes there in place of its statement:
//! so the error comes in order, and has the effect on the transaction that an error has.

use wire::message::{self, Parse, TransactionStatus};
use wire::tag::frontend as f;

use crate::catalog::text;
use crate::expect::Expect;
use crate::frame::{Frame, TEXT_LIMIT};
use crate::prepared::MISSING;
use crate::rules::Feature;
use crate::server::ServerState;
use crate::session::{Mode, Phase, Session};
use crate::uses;
use crate::verdict::{ToServer, Unleased, Violation};

impl Session {
    /// What the text of a frame uses that is refused, if anything is refused at all.
    #[inline]
    pub(crate) fn refused(&self, frame: &Frame<'_>) -> Option<Feature> {
        if self.rules.rejects_any() { self.refused_use(frame) } else { None }
    }

    #[cold]
    fn refused_use(&self, frame: &Frame<'_>) -> Option<Feature> {
        // Postgres itself refuses what is in a failed transaction.
        if self.mode == Mode::Session || self.standing == TransactionStatus::Failed {
            return None;
        }
        let text = match frame.header.tag {
            f::QUERY => text(frame.body),
            f::PARSE if frame.is_whole() => Parse::read(frame.body).ok()?.text(),
            _ => return None,
        };
        let text = text.get(..TEXT_LIMIT).unwrap_or(text);
        self.rules.first_rejected(uses::features(text))
    }

    /// As [`Session::refused`], for a frame that would go to `server` now.
    #[inline]
    pub(crate) fn refused_on(&self, frame: &Frame<'_>, server: &ServerState) -> Option<Feature> {
        let has_failed = server.is_quiet() && server.status == TransactionStatus::Failed;
        // What comes in the middle of COPY data is refused for that.
        if has_failed || server.reads_copy() { None } else { self.refused(frame) }
    }

    /// Lets the server fail a statement that it does not see.
    #[cold]
    pub(crate) fn refuse_on(
        feature: Feature,
        tag: u8,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> ToServer {
        server.batch.give_up();
        message::put(to_server, f::BIND, |out| {
            message::put_c_bytes(out, b"");
            message::put_c_bytes(out, MISSING);
            // No formats, no parameters, no formats of results.
            out.extend_from_slice(&[0; 6]);
        });
        server.expected.push(Expect::Refused(feature));
        server.in_batch.is_open = true;
        if tag == f::QUERY {
            to_server.extend_from_slice(message::SYNC);
            server.sync();
        }
        ToServer::SWALLOW
    }

    /// The server has told what is left: if that is refused, it is taken away with the lease, and
    /// the client is told with its next statement.
    pub(crate) fn police(&mut self, server: &mut ServerState) {
        if !self.rules.rejects_any() || self.mode == Mode::Session {
            return;
        }
        let left = self.rules.rejected_in(server.pins, &self.parameters, &self.startup);
        if let Some(feature) = left {
            server.counters.state_refusals += 1;
            self.phase = match self.rules.rejects_all(server.pins) {
                true => Phase::Refused(feature),
                false => Phase::Expelled(feature),
            };
        }
    }

    /// Whether the client has yet to be told that what it has left is gone.
    #[inline]
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.phase, Phase::Refused(_) | Phase::Expelled(_))
    }

    /// The first message since then.
    #[cold]
    pub(crate) fn on_client_refused(
        &mut self,
        frame: &Frame<'_>,
        feature: Feature,
        to_client: &mut Vec<u8>,
    ) -> Result<Unleased, Violation> {
        let tag = frame.header.tag;
        if tag == f::CLOSE {
            return self.close_unleased(frame, to_client);
        }
        self.phase = Phase::Ready;
        self.forget_refused_settings();
        self.refuse(tag, &feature.refusal_of_earlier(), to_client);
        Ok(Unleased::Swallow)
    }

    /// Forgets what is refused of the settings. No server reports it: the client has not been told.
    fn forget_refused_settings(&mut self) {
        let (rules, login) = (self.rules, &self.startup);
        let is_kept = |name: &str| login.get(name).is_some() || !rules.rejects_setting(name);
        let kept = self.parameters.iter().filter(|(name, _)| is_kept(name));
        self.parameters = self.catalog.parameters(kept);
    }
}
