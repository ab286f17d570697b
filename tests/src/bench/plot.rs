//! The figures as an SVG image: bars of ratios to direct.

use std::fmt::Write;

use super::{
    case::Measures,
    figures::{Row, Spread},
};

const LEFT: f64 = 190.0;
const WIDTH: f64 = 760.0;
const BAR: f64 = 14.0;
const GAP: f64 = 26.0;
/// By the order of the variants of a case.
const COLOURS: [&str; 5] = ["#2b6cb0", "#63b3ed", "#a0aec0", "#718096", "#90cdf4"];

pub fn svg(rows: &[Row]) -> String {
    let mut body = String::new();
    let mut y = 24.0;
    let latency = |row: &Row| row.p50_ratio.filter(|_| row.case.measures() == Measures::Latency);
    let throughput = |row: &Row| row.throughput_ratio.filter(|_| row.case.measures() == Measures::Throughput);
    panel(&mut body, &mut y, "p50 as a multiple of direct (less is better)", rows, latency);
    panel(&mut body, &mut y, "throughput as a share of direct (more is better)", rows, throughput);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y}\" font-family=\"sans-serif\" \
         font-size=\"11\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

fn panel(body: &mut String, y: &mut f64, title: &str, rows: &[Row], ratio: impl Fn(&Row) -> Option<Spread>) {
    let bars: Vec<_> =
        rows.iter().filter(|row| !row.variant.is_base()).filter_map(|row| Some((row, ratio(row)?))).collect();
    let Some(most) = Spread::of(bars.iter().map(|(_, spread)| spread.max)).map(|spread| spread.max) else {
        return;
    };
    let scale = (WIDTH - LEFT - 60.0) / most.max(1.0);
    let _ = writeln!(body, "<text x=\"10\" y=\"{y}\" font-size=\"14\" font-weight=\"bold\">{title}</text>");
    *y += 12.0;
    let top = *y;
    let (mut last, mut nth) = ("", 0);
    for (row, spread) in bars {
        if row.case.name != last {
            (last, nth) = (row.case.name, 0);
            *y += GAP - BAR;
            let _ = writeln!(body, "<text x=\"10\" y=\"{}\">{last}</text>", *y + BAR - 3.0);
        }
        let (middle, width) = (*y + BAR / 2.0, spread.median * scale);
        let (from, to) = (LEFT + spread.min * scale, LEFT + spread.max * scale);
        let _ = writeln!(
            body,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text><rect x=\"{LEFT}\" y=\"{y}\" \
             width=\"{width:.1}\" height=\"{}\" fill=\"{}\"/><line x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{middle}\" \
             y2=\"{middle}\" stroke=\"black\"/><text x=\"{:.1}\" y=\"{text}\">{:.2}</text>",
            LEFT - 6.0,
            row.variant.name,
            BAR - 2.0,
            COLOURS[nth % COLOURS.len()],
            to + 4.0,
            spread.median,
            text = *y + BAR - 3.0,
        );
        nth += 1;
        *y += BAR;
    }
    let one = LEFT + scale;
    let _ = writeln!(
        body,
        "<line x1=\"{one:.1}\" x2=\"{one:.1}\" y1=\"{top}\" y2=\"{y}\" stroke=\"#c53030\" stroke-dasharray=\"4 3\"/>"
    );
    *y += 36.0;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{
        case::CASES,
        figures::{Measurement, condense},
        variant::VARIANTS,
    };

    #[test]
    fn a_base_has_no_bar_and_others_have_theirs() {
        let one = Measurement { operations: 1, operations_per_second: 10.0, ..Measurement::default() };
        let half = Measurement { operations_per_second: 5.0, ..one };
        let bulk = CASES[CASES.len() - 1];
        let rows = [
            condense(&bulk, &VARIANTS[0], &[(one, Some(one))]),
            condense(&bulk, &VARIANTS[1], &[(half, Some(one))]),
        ];
        let image = svg(&rows);
        assert!(image.starts_with("<svg") && image.trim_end().ends_with("</svg>"));
        assert!(image.contains(">weft</text>") && image.contains(">0.50</text>"));
        assert!(!image.contains(">direct</text>"));
    }
}
