//! The access log of a workload, in both of Linkerd's formats.

use anyhow::{Context, Result, ensure};
use weft_tests::{
    mesh::{Description, Mesh, mesh},
    suite::Area,
};

use super::ways::{all_ports, ask, each_way, ok};

pub(crate) fn area() -> Area {
    Area::new("http_access_log", logging)
        .scenario(
            "json",
            "With config.linkerd.io/access-log: json each request is a line with the client's identity, method, target, \
             status, sizes and times; a client's text cannot break the line.",
            json,
        )
        .scenario(
            "apache",
            "With apache each request is a line of the common log format.",
            apache,
        )
}

/// `far` logs in JSON, `near` in the apache format, `silent` not at all.
fn logging() -> Description {
    let annotation = "config.linkerd.io/access-log";
    mesh("http-access-log")
        .pod("client", |pod| pod.node("a").meshed())
        .pod("far", |pod| pod.node("b").meshed().annotate(annotation, "json"))
        .service("far", all_ports)
        .pod("near", |pod| pod.node("a").meshed().annotate(annotation, "apache"))
        .service("near", all_ports)
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn json(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        if way.server.name() != "far" {
            return Ok(());
        }
        let origin = way.answering(|_| ok("hello"))?;
        let mut client = way.connect(origin.port())?;
        let headers = format!("User-Agent: the \"agent\"\r\ntraceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n");
        ensure!(ask(&mut client, "/logged?x=1", &headers)?.text() == "hello");
        let line = mesh.proxy("b").log().expect_line(&["/logged?x=1", "client.id"])?;
        let entry: serde_json::Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        ensure!(text("client.id") == way.client.identity(), "{line}");
        ensure!(
            text("client.addr").starts_with(&way.client.v4.to_string())
                || text("client.addr").starts_with('['),
            "{line}"
        );
        ensure!(
            (text("method"), text("uri"), text("version"))
                == ("GET".into(), "/logged?x=1".into(), "HTTP/1.1".into()),
            "{line}"
        );
        ensure!(entry["status"] == 200 && text("response_bytes") == "5", "{line}");
        ensure!(text("trace_id") == TRACE && text("user_agent") == "the ?agent?", "{line}");
        ensure!(text("pod") == "far" && !text("timestamp").is_empty(), "{line}");
        let (total, processing): (u64, u64) = (text("total_ns").parse()?, text("processing_ns").parse()?);
        ensure!(total >= processing && processing > 0, "{line}");
        origin.no_failures()
    })
}

fn apache(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        if way.server.name() != "near" {
            return Ok(());
        }
        let origin = way.answering(|_| ok("hello"))?;
        let mut client = way.connect(origin.port())?;
        ensure!(ask(&mut client, "/common", "")?.text() == "hello");
        let line = mesh.proxy("a").log().expect_line(&["/common"])?;
        let identity = way.client.identity();
        ensure!(line.contains(&format!(" {identity} - [")), "{line}");
        ensure!(line.contains("] \"GET /common HTTP/1.1\" 200 5 \""), "{line}");
        origin.no_failures()
    })
}
