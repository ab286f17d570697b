//! Converts OpenMetrics to the older Prometheus text format.
//!
//! Samples are the same in both; only the comments differ. In OpenMetrics, a counter's family has no suffix `_total`.
//! In Prometheus text format 0.0.4, the family has the same name as its samples.

/// Rewrites the comments of an OpenMetrics exposition for Prometheus text format 0.0.4.
pub(super) fn from_openmetrics(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len() + openmetrics.len() / 64);
    let mut lines = openmetrics.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap_or((help, ""));
            let kind = lines.peek().and_then(|next| next.rsplit_once(' ')).map_or("", |(_, kind)| kind);
            let (suffix, _) = translate(kind);
            push(&mut text, &["# HELP ", name, suffix, " ", help]);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = translate(kind);
            push(&mut text, &["# TYPE ", name, suffix, " ", kind]);
        } else if !line.starts_with('#') {
            push(&mut text, &[line]);
        }
    }
    text
}

/// The suffix of a family's name, and the name of its type.
fn translate(kind: &str) -> (&'static str, &str) {
    match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "unknown" => ("", "untyped"),
        other => ("", other),
    }
}

fn push(text: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| text.push_str(part));
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::from_openmetrics;

    #[test]
    fn comments_are_rewritten_and_samples_kept() {
        let openmetrics = "# HELP tcp_open Opened.\n# TYPE tcp_open counter\ntcp_open_total{a=\"# HELP\"} 1\n\
             # HELP up Up.\n# TYPE up gauge\n# UNIT up seconds\nup 1\n# HELP b B.\n# TYPE b info\nb_info{} 1\n# EOF\n";
        let text = "# HELP tcp_open_total Opened.\n# TYPE tcp_open_total counter\ntcp_open_total{a=\"# HELP\"} 1\n\
             # HELP up Up.\n# TYPE up gauge\nup 1\n# HELP b_info B.\n# TYPE b_info gauge\nb_info{} 1\n";
        assert_eq!(from_openmetrics(openmetrics), text);
    }
}
