//! What the API server stores, read and changed behind its back.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use weft_tests::{
    kubernetes::{Cluster, wait},
    netns::Netns,
};

/// Where etcd listens, in the network of the control plane.
const PORT: u16 = 2379;

pub(super) struct Etcd(Netns);

impl Etcd {
    pub(super) fn of(cluster: &Cluster) -> Self {
        Self(Netns::at(cluster.node_netns("control")))
    }

    /// What is stored under a key. Custom resources are stored as JSON.
    pub(super) fn get(&self, key: &str) -> Result<Vec<u8>> {
        let answer = self.ask("range", &json!({ "key": encoded(key) }))?;
        let value = answer["kvs"][0]["value"].as_str().with_context(|| format!("there is no {key}"))?;
        Ok(BASE64_STANDARD.decode(value)?)
    }

    pub(super) fn put(&self, key: &str, value: &[u8]) -> Result<()> {
        self.ask("put", &json!({ "key": encoded(key), "value": encoded(value) })).map(drop)
    }

    pub(super) fn delete(&self, key: &str) -> Result<()> {
        let answer = self.ask("deleterange", &json!({ "key": encoded(key) }))?;
        ensure!(answer["deleted"] == "1", "there is no {key}: {answer}");
        Ok(())
    }

    /// A call to etcd's JSON gateway.
    fn ask(&self, call: &str, body: &Value) -> Result<Value> {
        let mut stream = self.0.run(|| TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)))?.context("etcd")?;
        stream.set_read_timeout(Some(wait::EVENTUALLY))?;
        let body = body.to_string();
        write!(stream, "POST /v3/kv/{call} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(|| answer.clone())?;
        ensure!(head.contains(" 200 "), "etcd: {answer}");
        Ok(serde_json::from_str(body)?)
    }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(bytes)
}
