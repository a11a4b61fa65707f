//! No hub: what listens for clients is tested on real servers.

use std::convert::Infallible;
use std::task::{Context, Poll};

use notify::{Event, HubError};

use super::super::Hear;

impl Hear for Infallible {
    fn listen(&mut self, _: &[u8]) -> Result<(), HubError> {
        match *self {}
    }

    fn set(&mut self, _: &[&[u8]]) -> Result<(), HubError> {
        match *self {}
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HubError>> {
        match *self {}
    }

    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Event> {
        match *self {}
    }
}
