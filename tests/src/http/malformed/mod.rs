//! Malformed messages, and the judge of what became of them.

pub mod http2;
mod requests;
mod responses;

use anyhow::{Result, bail, ensure};

pub use self::{requests::REQUESTS, responses::RESPONSES};
use super::{Message, To, Wire};

/// A malformed message.
pub struct Malformed {
    pub name: &'static str,
    pub bytes: &'static [u8],
    pub may: May,
}

/// What of a malformed message may reach the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// Nothing.
    Vanish,
    /// Nothing, or a beginning that the other side recognizes as incomplete: a body was being streamed when its error
    /// was found.
    Break,
    /// As `Break`, or exactly one well-formed message with this body: a proxy repaired what is not ambiguous.
    Become(&'static str),
}

/// The messages that a connection carried.
#[derive(Debug, Default)]
pub struct Carried {
    pub complete: Vec<Message>,
    /// The last message ends too early.
    pub incomplete: bool,
}

impl Carried {
    /// The requests in what an origin received. An error if they are not well-formed.
    pub fn requests(bytes: &[u8]) -> Result<Self> {
        Self::of(bytes, Message::request)
    }

    /// The final responses to GET in what a client received. An error if they are not well-formed.
    pub fn responses(bytes: &[u8]) -> Result<Self> {
        Self::of(bytes, |wire| Message::final_response(wire, To::Other))
    }

    fn of(bytes: &[u8], read: impl Fn(&mut Wire<std::io::Empty>) -> Result<Message>) -> Result<Self> {
        let mut wire = Wire::recorded(bytes);
        let mut carried = Self::default();
        while wire.buffered() > 0 {
            match read(&mut wire) {
                Ok(message) => carried.complete.push(message),
                // Nothing wrong was found before the end.
                Err(_) if wire.ended() => {
                    carried.incomplete = true;
                    break;
                }
                Err(e) => return Err(e.context(format!("in {:?}", String::from_utf8_lossy(bytes)))),
            }
        }
        Ok(carried)
    }
}

impl May {
    /// Judges what arrived of one message.
    pub fn judge(self, carried: &Carried) -> Result<()> {
        match (self, carried.complete.as_slice()) {
            (Self::Vanish, []) => ensure!(!carried.incomplete, "the beginning of a message arrived"),
            (_, []) => {}
            (Self::Become(body), [only]) if !carried.incomplete => {
                ensure!(only.body == body.as_bytes(), "a message with another body arrived: {only:?}");
            }
            (_, arrived) => bail!("{} messages arrived: {carried:?}", arrived.len()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(message: &Malformed, carried: fn(&[u8]) -> Result<Carried>) -> bool {
        carried(message.bytes).and_then(|carried| message.may.judge(&carried)).is_ok()
    }

    #[test]
    fn a_message_that_passes_unchanged_is_found() {
        let requests = REQUESTS.iter().filter(|request| passes(request, Carried::requests));
        let responses = RESPONSES.iter().filter(|response| passes(response, Carried::responses));
        let overlooked: Vec<_> = requests.chain(responses).map(|message| message.name).collect();
        assert!(overlooked.is_empty(), "{overlooked:?}");
    }

    #[test]
    fn what_is_allowed_passes() {
        let once = b"POST /once HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody";
        let whole = Carried::requests(once).expect("well-formed");
        May::Become("body").judge(&whole).expect("the body is the expected one");
        assert!(May::Become("other").judge(&whole).is_err());
        assert!(May::Break.judge(&whole).is_err());
        let half = Carried::requests(&once[..once.len() - 1]).expect("well-formed so far");
        May::Break.judge(&half).expect("it is incomplete");
        assert!(May::Vanish.judge(&half).is_err());
        May::Vanish.judge(&Carried::requests(b"").expect("nothing")).expect("nothing arrived");
        let twice = Carried::requests(&once.repeat(2)).expect("well-formed");
        assert!(May::Become("body").judge(&twice).is_err());
    }

    #[test]
    fn names_are_unique() {
        for table in [REQUESTS, RESPONSES] {
            let mut names: Vec<_> = table.iter().map(|message| message.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), table.len());
        }
    }
}
