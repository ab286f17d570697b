//! Whole messages.

use std::io::Read;

use anyhow::{Context, Result, ensure};

use super::{Field, Framing, Head, To, Wire};

/// A request or a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub head: Head,
    pub body: Vec<u8>,
    pub trailers: Vec<Field>,
}

impl Message {
    /// Reads a request.
    pub fn request<S: Read>(wire: &mut Wire<S>) -> Result<Self> {
        let head = Head::read(wire)?;
        ensure!(head.is_request(), "{:?} instead of a request", head.line);
        Self::finish(wire, head, To::Other)
    }

    /// Reads a response, which may be an interim one.
    pub fn response<S: Read>(wire: &mut Wire<S>, to: To) -> Result<Self> {
        let head = Head::read(wire)?;
        ensure!(!head.is_request(), "{:?} instead of a response", head.line);
        Self::finish(wire, head, to)
    }

    /// Reads the final response, and skips interim ones other than 101.
    pub fn final_response<S: Read>(wire: &mut Wire<S>, to: To) -> Result<Self> {
        loop {
            let response = Self::response(wire, to)?;
            if !(100..200).contains(&response.head.status()) || response.head.status() == 101 {
                return Ok(response);
            }
        }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn finish<S: Read>(wire: &mut Wire<S>, head: Head, to: To) -> Result<Self> {
        let framing = Framing::of(&head, to).with_context(|| format!("{head:?}"))?;
        let mut body = Vec::new();
        let trailers = framing
            .read(wire, |part| {
                body.extend_from_slice(part);
                Ok(())
            })
            .with_context(|| format!("the body of {:?}", head.line))?;
        Ok(Self { head, body, trailers })
    }
}
