//! Heads pass through the mesh as they were sent.

use anyhow::{Result, ensure};
use weft_tests::{
    http::{Field, Message, To},
    mesh::Mesh,
    suite::Area,
};

use super::paths::{DATE, cluster, each_path, ok};

pub(crate) fn area() -> Area {
    Area::new("http_headers", cluster)
        .scenario(
            "as_sent",
            "Target, Host and all fields arrive as they were sent, with the case of their names, both ways; only \
             l5d-client-id is added.",
            as_sent,
        )
        .scenario(
            "impostors",
            "l5d-client-id from a client does not reach the application; through the mesh it is the identity.",
            impostors,
        )
        .scenario("absolute_form", "A request target in absolute form arrives as it was sent.", absolute_form)
        .scenario("many", "Two hundred fields of a hundred bytes pass, both ways.", many)
        .scenario("statuses", "Unusual statuses and methods pass.", statuses)
}

/// Fields of a request with unusual spelling and repeated names.
const REQUEST: [(&str, &str); 14] = [
    ("User-Agent", "weft scenario"),
    ("X-MiXeD-CaSe", "One"),
    ("x-mixed-case", "Two"),
    ("X-Empty", ""),
    ("X-Spaces", "a  b\tc"),
    ("X-Latin", "caf\u{e9}"),
    ("X-Comma", "a, b,c"),
    ("Accept", "*/*;q=0.5"),
    ("Cookie", "a=1; b=2"),
    ("X-Forwarded-For", "192.0.2.1"),
    ("Via", "1.1 somebody"),
    ("Authorization", "Basic d2VmdDp3ZWZ0"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"),
];

const RESPONSE: [(&str, &str); 8] = [
    ("Date", DATE),
    ("SERVER", "scripted/1.0"),
    ("Content-Length", "2"),
    ("Set-Cookie", "b=1; Path=/"),
    ("set-cookie", "a=2"),
    ("X-Empty", ""),
    ("cOnTeNt-TyPe", "text/plain; charset=\"utf-8\""),
    ("Vary", "Accept, Cookie"),
];

fn as_sent(mesh: &Mesh) -> Result<()> {
    const TARGET: &str = "/Path/%7Eas-is/../x//y?q=a%20b&c=%C3%A9";
    each_path(mesh, |path| {
        let response = head("HTTP/1.1 200 OK", &RESPONSE);
        let answer = [response, b"ok".to_vec()].concat();
        let origin = path.answering(move |_| answer.clone())?;
        let mut client = path.connect(&origin)?;
        let host = format!("FaR.Example:{}", origin.port());
        let fields: Vec<_> = [("Host", host.as_str())].into_iter().chain(REQUEST).collect();
        client.send(head(&format!("GET {TARGET} HTTP/1.1"), &fields))?;

        let received = Message::response(&mut client, To::Other)?;
        ensure!(received.head.sorted() == sorted(&RESPONSE), "the client received {:#?}", received.head);
        let request = path.without_identity(origin.only_request()?.head)?;
        ensure!(request.line == format!("GET {TARGET} HTTP/1.1"), "the request line is {:?}", request.line);
        ensure!(request.sorted() == sorted(&fields), "the origin received {request:#?}");
        origin.no_failures()
    })
}

fn impostors(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.answering(|_| ok("good"))?;
        let mut client = path.connect(&origin)?;
        // What the application would otherwise believe; without the mesh, there is nobody to protect it.
        let forged = if path.meshed() { "L5D-Client-ID: root.kube-system.serviceaccount\r\n" } else { "" };
        client.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n{forged}\r\n", path.host(origin.port())))?;
        ensure!(Message::response(&mut client, To::Other)?.text() == "good");
        let head = origin.only_request()?.head;
        let ids = head.values("l5d-client-id").len();
        ensure!(ids == usize::from(path.meshed()), "the origin received {ids} client ids: {head:?}");
        let head = path.without_identity(head)?;
        let others = head.fields.iter().filter(|(name, _)| name.to_lowercase().starts_with("l5d-"));
        ensure!(others.count() == 0, "the origin received {head:?}");
        origin.no_failures()
    })
}

fn absolute_form(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.answering(|request| ok(request.head.target()))?;
        let mut client = path.connect(&origin)?;
        for target in ["http://other.example:81/x?y=1", "http://other.example"] {
            let host = target.trim_start_matches("http://").split('/').next().unwrap_or_default();
            client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))?;
            let seen = Message::response(&mut client, To::Other)?.text();
            // RFC 9110 4.2.3: an empty path is the same as "/".
            ensure!(
                seen == target || seen == format!("{target}/"),
                "the origin received the target {seen:?}"
            );
        }
        client.send(format!("OPTIONS * HTTP/1.1\r\nHost: {}\r\n\r\n", path.host(origin.port())))?;
        let seen = Message::response(&mut client, To::Other)?.text();
        ensure!(seen == "*", "the origin received the target {seen:?} instead of an asterisk");
        origin.no_failures()
    })
}

fn many(mesh: &Mesh) -> Result<()> {
    let fields: Vec<_> = (0..200).map(|number| (format!("X-Field-{number:03}"), "v".repeat(87))).collect();
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    each_path(mesh, |path| {
        let more = [("Date", DATE), ("Content-Length", "0")];
        let answered: Vec<_> = more.into_iter().chain(fields.iter().copied()).collect();
        let answer = head("HTTP/1.1 200 OK", &answered);
        let origin = path.answering(move |_| answer.clone())?;
        let mut client = path.connect(&origin)?;
        let host = path.host(origin.port());
        let asked: Vec<_> = [("Host", host.as_str())].into_iter().chain(fields.iter().copied()).collect();
        client.send(head("GET / HTTP/1.1", &asked))?;
        let received = Message::response(&mut client, To::Other)?.head;
        ensure!(
            received.sorted() == sorted(&answered),
            "the client received {} fields",
            received.fields.len()
        );
        let request = path.without_identity(origin.only_request()?.head)?;
        ensure!(request.sorted() == sorted(&asked), "the origin received {} fields", request.fields.len());
        origin.no_failures()
    })
}

fn statuses(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let origin = path.answering(|request| {
            let status = request.head.target().trim_start_matches('/');
            format!("HTTP/1.1 {status} Whatever\r\nDate: {DATE}\r\nContent-Length: 0\r\n\r\n").into()
        })?;
        let mut client = path.connect(&origin)?;
        for (method, status) in [
            ("GET", 203),
            ("PUT", 207),
            ("DELETE", 299),
            ("PATCH", 308),
            ("PROPFIND", 418),
            ("M-SEARCH", 451),
            ("get", 499),
            ("POST", 502),
            ("OPTIONS", 503),
            ("TRACE", 599),
            ("WEFT!", 799),
        ] {
            let host = path.host(origin.port());
            client.send(format!("{method} /{status} HTTP/1.1\r\nHost: {host}\r\n\r\n"))?;
            let received = Message::response(&mut client, To::Other)?.head;
            ensure!(received.status() == status, "{method}: {received:?} instead of {status}");
            let seen = origin.requests().pop().map(|request| request.head.method().to_owned());
            ensure!(seen.as_deref() == Some(method), "{method}: the origin received {seen:?}");
        }
        origin.no_failures()
    })
}

/// The bytes of a head; a character above 127 is the byte of the same number.
fn head(line: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{line}\r\n{fields}\r\n").chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect()
}

/// As [`weft_tests::http::Head::sorted`].
fn sorted(fields: &[(&str, &str)]) -> Vec<Field> {
    let mut fields: Vec<_> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    fields.sort_by_key(|(name, _)| name.to_ascii_lowercase());
    fields
}
