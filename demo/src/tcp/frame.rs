//! The messages between client and server, with a checksum that shows a wrong byte.
//!
//! A frame is: length of the sender's name (u32, big endian), length of the payload (u32), checksum of the payload
//! (u64, FNV-1a), name, payload.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(crate) const MAX_PAYLOAD: usize = 16 << 20;
const MAX_NAME: usize = 256;
const HEADER: usize = 16;

#[derive(Debug, PartialEq)]
pub(crate) struct Frame {
    /// The sender's.
    pub(crate) name: String,
    pub(crate) payload: Vec<u8>,
}

/// Reads a frame and verifies its checksum. None: the stream ended before the frame began.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Frame>> {
    let mut header = [0; HEADER];
    if stream.read(&mut header[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut header[1..]).await?;
    let [a, b, c, d, e, f, g, h, sum @ ..] = header;
    let name_length = u32::from_be_bytes([a, b, c, d]) as usize;
    let length = u32::from_be_bytes([e, f, g, h]) as usize;
    if name_length > MAX_NAME || length > MAX_PAYLOAD {
        return Err(Error::new(
            ErrorKind::InvalidData,
            format!("not a frame: lengths {name_length}, {length}"),
        ));
    }
    let mut name = vec![0; name_length];
    stream.read_exact(&mut name).await?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    if checksum(&payload) != u64::from_be_bytes(sum) {
        return Err(Error::new(ErrorKind::InvalidData, "wrong checksum: bytes were changed on the way"));
    }
    let name = String::from_utf8(name).map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
    Ok(Some(Frame { name, payload }))
}

pub(crate) async fn write(stream: &mut (impl AsyncWrite + Unpin), name: &str, payload: &[u8]) -> Result<()> {
    let too_long = |_| Error::new(ErrorKind::InvalidInput, "too long for a frame");
    let mut bytes = Vec::with_capacity(HEADER + name.len() + payload.len());
    bytes.extend(u32::try_from(name.len()).map_err(too_long)?.to_be_bytes());
    bytes.extend(u32::try_from(payload.len()).map_err(too_long)?.to_be_bytes());
    bytes.extend(checksum(payload).to_be_bytes());
    bytes.extend(name.as_bytes());
    bytes.extend(payload);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        write(&mut bytes, "web-a", b"hello").await.unwrap();
        write(&mut bytes, "", b"").await.unwrap();
        let mut stream = bytes.as_slice();
        let first = read(&mut stream).await.unwrap().unwrap();
        assert_eq!(first, Frame { name: "web-a".to_owned(), payload: b"hello".to_vec() });
        assert_eq!(read(&mut stream).await.unwrap().unwrap().payload, b"");
        assert_eq!(read(&mut stream).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_wrong_byte_is_detected() {
        let mut bytes = Vec::new();
        write(&mut bytes, "x", b"hello").await.unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(read(&mut bytes.as_slice()).await.unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn an_early_end_and_absurd_lengths_are_errors() {
        let mut bytes = Vec::new();
        write(&mut bytes, "x", b"hello").await.unwrap();
        assert_eq!(read(&mut &bytes[..10]).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(read(&mut [0xff; 64].as_slice()).await.unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
