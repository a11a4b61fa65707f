//! One message as the relay shows it: its header and as much of its body as is needed.

use wire::{HEADER_LEN, Header, tag};

/// Bodies up to this many bytes are shown whole where the text matters; of longer ones the
/// front is shown and the rest streams past.
pub const TEXT_LIMIT: usize = 64 * 1024;

/// A named statement must be kept to be parsed again elsewhere, so its text is bounded.
pub const STATEMENT_LIMIT: usize = 16 * 1024 * 1024;

/// Names, command tags, parameter statuses and errors are bounded far below this.
pub const SMALL_LIMIT: usize = 8 * 1024;

/// The process id and the channel of a notification, which has at most 63 bytes and an end.
const NOTIFICATION_HEAD: usize = 4 + 64;

/// A message. `body` may be shorter than the header says: the rest has not arrived, and is
/// passed on or dropped as it comes, like the part that is here.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Tag and full length.
    pub header: Header,
    /// The front of the body.
    pub body: &'a [u8],
}

impl Frame<'_> {
    /// Whether the body is here to its end.
    #[inline]
    pub fn is_whole(&self) -> bool {
        self.body.len() == self.header.body_len as usize
    }
}

/// How many bytes of a client's frame, header included, [`crate::Session::on_client`] must
/// be shown. Less than the frame's length means that the rest may stream past.
#[inline]
pub fn client_need(header: Header) -> usize {
    use tag::frontend as f;
    let limit = match header.tag {
        f::QUERY => TEXT_LIMIT,
        f::PARSE => STATEMENT_LIMIT,
        f::BIND | f::DESCRIBE | f::EXECUTE | f::CLOSE => SMALL_LIMIT,
        _ => 0,
    };
    header.frame_len().min(HEADER_LEN + limit)
}

/// The same for a server's frame, unless it answers us: see [`crate::ServerState::need`].
#[inline]
pub(crate) fn server_need(header: Header) -> usize {
    use tag::backend as b;
    let limit = match header.tag {
        b::COMMAND_COMPLETE | b::READY_FOR_QUERY | b::PARAMETER_STATUS => SMALL_LIMIT,
        // It is kept until it is known whether an error follows that a fresh Parse mends.
        b::PARAMETER_DESCRIPTION => SMALL_LIMIT,
        b::ERROR_RESPONSE | b::NOTICE_RESPONSE => TEXT_LIMIT,
        b::NOTIFICATION_RESPONSE => NOTIFICATION_HEAD,
        _ => 0,
    };
    header.frame_len().min(HEADER_LEN + limit)
}
