//! A client of `weft.test.Bytes` inside a pod.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinSet, time};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{
    Code, IntoStreamingRequest, Request, Response, Status, Streaming,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

use super::{LARGEST, NAME, codec::BytesCodec};
use crate::netns::Netns;

/// Calls every method of a server, whatever it is written in, from inside `netns`.
pub fn check(netns: &Netns, server: SocketAddr) -> Result<()> {
    // One thread, because its namespace is that of the sockets that it creates.
    netns.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let channel = Endpoint::from_shared(format!("http://{server}"))?.connect().await?;
            time::timeout(Duration::from_secs(60), Client { channel }.check())
                .await
                .context("it takes too long")?
        })
    })?
}

#[derive(Clone)]
struct Client {
    channel: Channel,
}

impl Client {
    async fn check(self) -> Result<()> {
        self.unary().await.context("unary")?;
        self.metadata().await.context("metadata")?;
        self.large().await.context("large")?;
        self.server_streaming().await.context("server streaming")?;
        self.client_streaming().await.context("client streaming")?;
        self.bidirectional().await.context("bidirectional")?;
        self.failure().await.context("failure")?;
        self.deadline().await.context("deadline")?;
        self.cancellation().await.context("cancellation")?;
        self.concurrent().await.context("concurrent")
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let grpc = Grpc::new(self.channel.clone());
        let mut grpc = grpc.max_decoding_message_size(LARGEST).max_encoding_message_size(LARGEST);
        grpc.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
        Ok(grpc)
    }

    async fn call(&self, method: &str, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        self.ready().await?.unary(request, path(method)?, BytesCodec).await
    }

    async fn text(&self, method: &str, message: &'static str) -> Result<String> {
        let response = self.call(method, Request::new(message.into())).await?;
        Ok(String::from_utf8_lossy(response.get_ref()).into_owned())
    }

    async fn stream(
        &self,
        method: &str,
        messages: impl IntoStreamingRequest<Message = Bytes, Stream: Send + 'static>,
    ) -> Result<Streaming<Bytes>, Status> {
        let request = messages.into_streaming_request();
        Ok(self.ready().await?.streaming(request, path(method)?, BytesCodec).await?.into_inner())
    }

    async fn unary(&self) -> Result<()> {
        for sent in ["", "hello"] {
            let received = self.text("Echo", sent).await?;
            ensure!(received == sent, "{received:?} instead of {sent:?}");
        }
        Ok(())
    }

    async fn metadata(&self) -> Result<()> {
        const BINARY: &[u8] = b"\0\x01\xff\n";
        let mut request = Request::new(Bytes::new());
        request.metadata_mut().insert("x-sent", MetadataValue::from_static("one"));
        request.metadata_mut().insert_bin("x-data-bin", MetadataValue::from_bytes(BINARY));
        let response = self.call("Echo", request).await?;
        let metadata = response.metadata();
        ensure!(metadata.get("x-header").is_some_and(|value| value == "one"), "received {metadata:?}");
        let binary = metadata.get_bin("x-data-bin").context("no binary metadata")?.to_bytes()?;
        ensure!(binary == BINARY, "received {binary:?}");
        Ok(())
    }

    async fn large(&self) -> Result<()> {
        let sent = Bytes::from(b"0123456789abcdef".repeat(1 << 20));
        let received = self.call("Echo", Request::new(sent.clone())).await?.into_inner();
        ensure!(received == sent, "{} of {} bytes came back", received.len(), sent.len());
        Ok(())
    }

    async fn server_streaming(&self) -> Result<()> {
        let mut messages = self.stream("Count", tokio_stream::once(Bytes::from("1000"))).await?;
        for number in 0..1000 {
            let message = messages.message().await?.context("the stream ended")?;
            ensure!(message == number.to_string(), "message {number} is {message:?}");
        }
        ensure!(messages.message().await?.is_none(), "too many messages");
        Ok(())
    }

    async fn client_streaming(&self) -> Result<()> {
        let messages = tokio_stream::iter(0..1000).map(|_| Bytes::from(vec![0; 1000]));
        let mut total = self.stream("Sum", messages).await?;
        let total = total.message().await?.context("no answer")?;
        ensure!(total == "1000000", "the sum is {total:?}");
        Ok(())
    }

    async fn bidirectional(&self) -> Result<()> {
        let (send, sent) = mpsc::channel(1);
        // Servers may answer with the headers only after the first message.
        send.send(Bytes::from("0")).await?;
        let mut answers = self.stream("Chat", ReceiverStream::new(sent)).await?;
        for number in 0..100 {
            let answer = answers.message().await?.context("the stream ended")?;
            ensure!(answer == number.to_string(), "{answer:?} instead of {number}");
            if number < 99 {
                send.send(Bytes::from((number + 1).to_string())).await?;
            }
        }
        drop(send);
        ensure!(answers.message().await?.is_none(), "too many messages");
        Ok(())
    }

    async fn failure(&self) -> Result<()> {
        let Err(status) = self.call("Fail", Request::new("weft".into())).await else { bail!("it succeeded") };
        ensure!(status.code() == Code::NotFound && status.message() == "no such thing: weft", "{status:?}");
        ensure!(status.metadata().get("x-trailer").is_some_and(|value| value == "failed"), "{status:?}");
        let Err(status) = self.call("Nothing", Request::new(Bytes::new())).await else {
            bail!("it succeeded")
        };
        ensure!(status.code() == Code::Unimplemented, "{status:?}");
        Ok(())
    }

    async fn deadline(&self) -> Result<()> {
        let before = self.text("Ended", "").await?;
        let mut request = Request::new(Bytes::new());
        request.set_timeout(Duration::from_millis(300));
        let begun = Instant::now();
        let Err(status) = self.call("Wait", request).await else { bail!("it succeeded") };
        // tonic's own timer says Cancelled.
        ensure!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
        ensure!(begun.elapsed() < Duration::from_secs(3), "it took {:?}", begun.elapsed());
        self.more_ended(&before).await
    }

    async fn cancellation(&self) -> Result<()> {
        let before = self.text("Ended", "").await?;
        let call = self.call("Wait", Request::new(Bytes::new()));
        let ended = time::timeout(Duration::from_millis(300), call).await;
        ensure!(ended.is_err(), "it ended: {ended:?}");
        self.more_ended(&before).await
    }

    /// The server learns that a call of Wait has ended.
    async fn more_ended(&self, before: &str) -> Result<()> {
        let begun = Instant::now();
        while self.text("Ended", "").await? == before {
            ensure!(begun.elapsed() < Duration::from_secs(5), "the server did not notice within 5 s");
            time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn concurrent(&self) -> Result<()> {
        let mut calls = JoinSet::new();
        for _ in 0..200 {
            let client = self.clone();
            calls.spawn(async move {
                client.unary().await?;
                client.bidirectional().await
            });
        }
        while let Some(ended) = calls.join_next().await {
            ended??;
        }
        Ok(())
    }
}

fn path(method: &str) -> Result<PathAndQuery, Status> {
    format!("/{NAME}/{method}").parse().map_err(|_| Status::internal("the path"))
}
