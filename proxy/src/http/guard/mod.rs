//! Guards the requests that a client sends on an HTTP/1 connection, before hyper reads them.
//!
//! Two implementations that disagree about where a request ends let a client smuggle requests past a policy. So what
//! RFC 9112 does not allow is refused, also where hyper would be lenient: lines that end with LF alone, repeated lengths,
//! chunk sizes with junk. A head is passed on when it is complete, and refused as soon as its first line is wrong. `Expect: 100-continue` is hidden from hyper, which
//! would answer it itself; `super::interim` passes on the application's own answer.

mod chunks;
#[cfg(test)]
mod fuzz;
mod head;
#[cfg(test)]
mod tests;

use bytes::{Buf, Bytes, BytesMut};

use self::{
    chunks::Chunks,
    head::{Follows, Head},
};

/// The masked `Expect: 100-continue`: its last byte has the highest bit set.
pub(super) const MASKED_EXPECT: &[u8] = b"100-continu\xe5";

/// What hyper reads in place of a head that is refused: it answers 400 and closes the connection.
const REFUSED: &[u8] = b"REFUSED\r\n\r\n";

/// Follows the requests on one connection.
pub(super) struct Guard {
    state: State,
    /// The start of a head that is not complete, or bytes that are checked and wait to be read.
    held: BytesMut,
    /// How many bytes of `held` may be read.
    ready: usize,
    max_head: usize,
}

#[derive(Debug)]
enum State {
    Head,
    Body(u64),
    Chunks(Chunks),
    /// After CONNECT or Upgrade: nothing is checked until the application has answered. Whether bytes have passed.
    Perhaps {
        passed: bool,
    },
    /// Another protocol.
    Tunnel,
    Refused,
}

impl Guard {
    pub(super) fn new(max_head: usize) -> Self {
        Self { state: State::Head, held: BytesMut::new(), ready: 0, max_head }
    }

    /// Checks `bytes`, which were just read from the client. Returns how many of them may be passed on as they are; the
    /// others are kept, and passed on by [`Self::read`].
    ///
    /// # Errors
    /// What is wrong with the body of a request. A wrong head is replaced by one that hyper refuses, and told by
    /// [`Self::check`]'s second value.
    pub(super) fn check(&mut self, bytes: &mut [u8]) -> Result<(usize, Option<&'static str>), &'static str> {
        if matches!(self.state, State::Refused) {
            return Ok((0, None));
        }
        if self.held.is_empty() {
            // The usual case: whole heads, and bodies, in one read.
            let (passed, refused) = self.advance(bytes, 0)?;
            if refused.is_none() {
                self.held.extend_from_slice(&bytes[passed..]);
                return Ok((passed, None));
            }
            self.refuse();
            return Ok((passed, refused));
        }
        let searched = self.held.len() - self.ready;
        self.held.extend_from_slice(bytes);
        let mut held = self.held.split_off(self.ready);
        let (passed, refused) = self.advance(&mut held, searched)?;
        self.ready += passed;
        if refused.is_some() {
            held.truncate(passed);
        }
        self.held.unsplit(held);
        if refused.is_some() {
            self.refuse();
        }
        Ok((0, refused))
    }

    fn refuse(&mut self) {
        self.state = State::Refused;
        self.held.truncate(self.ready);
        self.held.extend_from_slice(REFUSED);
        self.ready = self.held.len();
    }

    /// Bytes that are checked and wait to be read.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.held[..self.ready]
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.held.advance(n);
        self.ready -= n;
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }

    /// What was kept: it belongs to the other protocol that the connection carries now.
    pub(super) fn into_held(self) -> Bytes {
        self.held.freeze()
    }

    /// How many bytes of a head that is not complete have arrived.
    pub(super) fn within_head(&self) -> usize {
        if matches!(self.state, State::Head) { self.held.len() - self.ready } else { 0 }
    }

    /// The application has accepted another protocol.
    pub(super) fn becomes_tunnel(&mut self) {
        self.state = State::Tunnel;
        self.ready = self.held.len();
    }

    /// The application has answered in HTTP. False: the connection cannot go on, because it is not known where the next
    /// request begins.
    pub(super) fn stays_http(&mut self) -> bool {
        match self.state {
            State::Perhaps { passed } => {
                self.state = State::Head;
                !passed
            }
            _ => true,
        }
    }

    /// Passes over `bytes` as far as they are complete. `searched` of them are known not to end a head.
    fn advance(
        &mut self,
        bytes: &mut [u8],
        mut searched: usize,
    ) -> Result<(usize, Option<&'static str>), &'static str> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &mut bytes[at..];
            match &mut self.state {
                State::Head => {
                    let known = std::mem::take(&mut searched);
                    let Some(length) = head::end(rest, known) else {
                        let too_large = "a request head that is too large";
                        let wrong = if known < head::START { head::check_start(rest).err() } else { None };
                        return Ok((at, wrong.or((rest.len() > self.max_head).then_some(too_large))));
                    };
                    match head::check(&rest[..length]) {
                        Ok(Head { follows, expect }) => {
                            if let Some(place) = expect {
                                rest[place].copy_from_slice(MASKED_EXPECT);
                            }
                            self.state = State::after(follows);
                            at += length;
                        }
                        // The reason must not depend on how the bytes arrive.
                        Err(why) => return Ok((at, Some(head::check_start(rest).err().unwrap_or(why)))),
                    }
                }
                State::Body(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= taken as u64;
                    at += taken;
                    if *left == 0 {
                        self.state = State::Head;
                    }
                }
                State::Chunks(chunks) => {
                    let (taken, ended) = chunks.take(rest)?;
                    at += taken;
                    if ended {
                        self.state = State::Head;
                    }
                }
                State::Perhaps { passed } => {
                    *passed = true;
                    at = bytes.len();
                }
                State::Tunnel => at = bytes.len(),
                // The connection is about to be closed: the rest does not matter.
                State::Refused => return Ok((at, None)),
            }
        }
        Ok((at, None))
    }
}

impl State {
    fn after(follows: Follows) -> Self {
        match follows {
            Follows::Length(0) => Self::Head,
            Follows::Length(length) => Self::Body(length),
            Follows::Chunks => Self::Chunks(Chunks::new()),
            Follows::Perhaps => Self::Perhaps { passed: false },
        }
    }
}
