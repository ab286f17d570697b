//! Encodes messages for thousands of long streams: a stream keeps no more memory than its largest message.
//!
//! tonic's own codec begins each stream with a buffer of 8 KiB, gathers all messages that are ready in it, and keeps it
//! as long as the stream lives. Most streams send some hundred bytes and then wait for hours.

use std::marker::PhantomData;

use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
};
use tonic_prost::{ProstCodec, ProstDecoder};

/// Sends `T`, receives `U`.
#[derive(Debug)]
pub struct CompactCodec<T, U> {
    messages: PhantomData<(T, U)>,
}

#[derive(Debug)]
pub struct CompactEncoder<T> {
    messages: PhantomData<T>,
}

impl<T, U> Default for CompactCodec<T, U> {
    fn default() -> Self {
        Self { messages: PhantomData }
    }
}

impl<T, U> Codec for CompactCodec<T, U>
where
    T: Message + 'static,
    U: Message + Default + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = CompactEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        CompactEncoder { messages: PhantomData }
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::default())
    }
}

impl<T: Message> Encoder for CompactEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // Without growing in steps, after which up to half would be unused.
        buffer.reserve(message.encoded_len());
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        // Nothing before the first message, and each message is sent by itself.
        BufferSettings::new(0, 1)
    }
}
