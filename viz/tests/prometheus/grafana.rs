//! Grafana below `/grafana`: who may reach it through the dashboard, and what it hears.

use crate::{
    http::{Answer, Server, answer, send},
    process::{Options, Viz},
    shop,
};

const HOST: (&str, &str) = ("host", "localhost:8084");

fn viz_with(grafana: &str) -> Viz {
    let more = vec!["--grafana-url".to_owned(), format!("http://{grafana}")];
    Viz::start(Options { manifests: shop::MANIFESTS, more, ..Options::default() })
}

/// A Grafana that answers with the head of the request.
fn echo() -> Server {
    Server::start_with_heads(|head| answer("200 OK", "text/plain", head))
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).unwrap().to_lowercase()
}

#[test]
fn requests_below_grafana_reach_it_with_their_path_and_the_others_do_not() {
    let grafana = echo();
    let viz = viz_with(&grafana.address.to_string());
    for path in
        ["/grafana", "/grafana/", "/grafana/d/weft-pod/x?var-pod=a%20b&orgId=1", "/grafana//evil.example/"]
    {
        let answer = send(viz.address, "GET", path, &[HOST]);
        assert_eq!(answer.status, 200, "{path}");
        assert!(text(&answer).starts_with(&format!("get {} http/1.1\r\n", path.to_lowercase())), "{path}");
        assert!(text(&answer).contains(&format!("host: {}\r\n", grafana.address)), "{path}");
    }
    // Grafana's pages ask with POST.
    assert!(
        text(&send(viz.address, "POST", "/grafana/api/ds/query", &[HOST])).starts_with("post /grafana/api/")
    );
    let asked = grafana.asked();
    for path in ["/grafana/../api/version", "/grafana/%2e%2e/login", "/grafana/..%2flogin"] {
        assert_eq!(send(viz.address, "GET", path, &[HOST]).status, 400, "{path}");
    }
    for path in ["/grafanax", "/api/version", "/"] {
        assert_eq!(send(viz.address, "GET", path, &[HOST]).status, 200, "{path}");
    }
    assert_eq!(grafana.asked(), asked);
}

#[test]
fn hosts_and_origins_of_others_are_refused() {
    let grafana = echo();
    let viz = viz_with(&grafana.address.to_string());
    let ask = |host: &str, origin: &str| {
        let headers = [("host", host), ("origin", origin)];
        send(viz.address, "POST", "/grafana/api/ds/query", &headers).status
    };
    assert_eq!(ask("evil.example", "http://evil.example"), 400);
    assert_eq!(ask("localhost:8084", "http://evil.example"), 403);
    assert_eq!(ask("localhost:8084", "null"), 403);
    assert_eq!(grafana.asked(), 0);
    assert_eq!(ask("localhost:8084", "http://localhost:8084"), 200);
    assert_eq!(grafana.asked(), 1);
}

#[test]
fn grafana_hears_its_own_cookies_and_no_credentials() {
    let grafana = echo();
    let viz = viz_with(&grafana.address.to_string());
    let headers = [
        HOST,
        ("origin", "http://localhost:8084"),
        ("authorization", "Basic c2VjcmV0"),
        ("proxy-authorization", "Basic c2VjcmV0"),
        ("cookie", "_oauth2_proxy=secret; grafana_session=abc; other=secret"),
        ("cookie", "redirect_to=%2Fd"),
        ("l5d-client-id", "web.secret"),
        ("connection", "x-secret"),
        ("x-secret", "secret"),
        ("accept-language", "en"),
    ];
    let heard = text(&send(viz.address, "GET", "/grafana/", &headers));
    assert!(!heard.contains("secret") && !heard.contains("c2vj") && !heard.contains("origin"), "{heard}");
    assert!(heard.contains("cookie: grafana_session=abc; redirect_to=%2fd\r\n"), "{heard}");
    assert!(heard.contains("accept-language: en\r\n"), "{heard}");
    let without = text(&send(viz.address, "GET", "/grafana/", &[HOST, ("cookie", "a=secret")]));
    assert!(!without.contains("cookie"), "{without}");
}

#[test]
fn grafanas_answers_set_no_other_cookies_and_have_its_own_policy() {
    let grafana = Server::start(|_| {
        b"HTTP/1.1 302 Found\r\nlocation: /grafana/login\r\nset-cookie: grafana_session=1; Path=/grafana; HttpOnly\r\n\
          set-cookie: _oauth2_proxy=stolen; Path=/\r\ncontent-security-policy: script-src 'self'\r\n\
          keep-alive: timeout=5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            .to_vec()
    });
    let viz = viz_with(&grafana.address.to_string());
    let answer = send(viz.address, "GET", "/grafana/", &[HOST]);
    assert_eq!((answer.status, answer.header("location")), (302, Some("/grafana/login")));
    assert!(answer.head.contains("grafana_session=1; Path=/grafana; HttpOnly"), "{}", answer.head);
    assert!(!answer.head.contains("stolen") && answer.header("keep-alive").is_none(), "{}", answer.head);
    assert_eq!(answer.header("content-security-policy"), Some("script-src 'self'"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn a_grafana_that_is_down_is_an_error_that_says_what_to_do() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let viz = viz_with(&address.to_string());
    let json = send(viz.address, "GET", "/grafana/d/weft-pod", &[HOST]).json();
    assert_eq!(json["error"]["code"], "grafana_unavailable");
    assert_eq!(json["error"]["message"], "Grafana does not answer.");
    assert!(json["error"]["hint"].as_str().unwrap().contains("--grafana-url"), "{json}");
    // The rest of the dashboard is not concerned, and links lead to it all the same.
    assert_eq!(viz.data("/api/version")["grafana"]["url"], "/grafana");
}
