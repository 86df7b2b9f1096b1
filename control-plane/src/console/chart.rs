//! A bar chart, as SVG: no script, readable without colour, with its numbers as text.

use super::page::number;
use crate::domain::usage::{Step, UsageSum};
use askama::Template;
use attach_proto::usage::MeasuredQuantity;
use jiff::Timestamp;

/// In the units of the drawing, which scales with the page.
const WIDTH: i64 = 1000;
const HEIGHT: i64 = 260;
const LEFT: i64 = 80;
const TOP: i64 = 12;
const BOTTOM: i64 = 26;

/// About so many bars have a label: more would touch.
const LABELS: usize = 8;

/// Lines across, the lowest at zero.
const LINES: i64 = 4;

#[derive(Template)]
#[template(path = "chart.html")]
pub(super) struct Chart {
    width: i64,
    height: i64,
    left: i64,
    description: String,
    lines: Vec<Line>,
    bars: Vec<Bar>,
}

struct Line {
    y: i64,
    text: String,
}

struct Bar {
    x: i64,
    width: i64,
    middle: i64,
    input_y: i64,
    input_height: i64,
    output_y: i64,
    output_height: i64,
    title: String,
    label: String,
}

impl Chart {
    /// A bar for each step from the first moment to the last, also for those of which there is no sum.
    pub(super) fn new(sums: &[UsageSum], from: Timestamp, to: Timestamp, step: Step) -> Self {
        let length = step.seconds();
        let first = from.as_second().div_euclid(length);
        let last = to.as_second().saturating_sub(1).div_euclid(length);
        let values: Vec<_> = (first..=last)
            .map(|at| {
                let start = Timestamp::from_second(at * length).unwrap_or(from);
                let sum = sums.iter().find(|sum| sum.start == Some(start));
                let quantity = |kind| sum.map_or(0, |sum| sum.quantity(kind)).max(0);
                (start, quantity(MeasuredQuantity::INPUT_TOKENS), quantity(MeasuredQuantity::OUTPUT_TOKENS))
            })
            .collect();
        let highest =
            values.iter().map(|(_, input, output)| input.saturating_add(*output)).max().unwrap_or(0);
        let top = round_up(highest);
        let drawn = HEIGHT - TOP - BOTTOM;
        let height = |value: i64| {
            let height = i128::from(value) * i128::from(drawn) / i128::from(top);
            i64::try_from(height).unwrap_or(drawn)
        };
        let count = i64::try_from(values.len()).unwrap_or(1).max(1);
        let slot = (WIDTH - LEFT) / count;
        let every = values.len().div_ceil(LABELS).max(1);
        let bars = values.iter().enumerate().map(|(index, (start, input, output))| {
            let x = LEFT + slot * i64::try_from(index).unwrap_or(0);
            let (input_height, output_height) = (height(*input), height(*output));
            let input_y = HEIGHT - BOTTOM - input_height;
            let pattern = match step {
                Step::Hour => "%b %-d %H:%M",
                Step::Day => "%b %-d",
            };
            let when = start.strftime(pattern).to_string();
            Bar {
                x: x + slot / 8,
                width: (slot * 3 / 4).max(1),
                middle: x + slot / 2,
                input_y,
                input_height,
                output_y: input_y - output_height,
                output_height,
                title: format!("{when}: {} input, {} output tokens", number(*input), number(*output)),
                label: if index % every == 0 { when } else { String::new() },
            }
        });
        let line = |at: i64| Line { y: HEIGHT - BOTTOM - drawn * at / LINES, text: number(top / LINES * at) };
        let total: i64 = values
            .iter()
            .fold(0, |sum, (_, input, output)| sum.saturating_add(*input).saturating_add(*output));
        Self {
            width: WIDTH,
            height: HEIGHT,
            left: LEFT,
            description: format!(
                "Bars for each {}, {} tokens in all, at most {} in one.",
                step.name(),
                number(total),
                number(highest)
            ),
            lines: (0..=LINES).map(line).collect(),
            bars: bars.collect(),
        }
    }
}

/// The next round number that the lines divide.
fn round_up(highest: i64) -> i64 {
    let mut unit: i64 = LINES;
    loop {
        for factor in [1, 2, 3, 5] {
            let candidate = unit.saturating_mul(factor);
            if candidate >= highest {
                return candidate;
            }
        }
        match unit.checked_mul(10) {
            Some(next) => unit = next,
            None => return i64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_bar_for_each_step_and_none_is_higher_than_the_drawing() {
        let (from, to) = ("2026-11-20T00:00:00Z".parse().unwrap(), "2026-11-21T12:30:00Z".parse().unwrap());
        let sum = UsageSum {
            start: Some("2026-11-21T00:00:00Z".parse().unwrap()),
            user: None,
            model: None,
            requests: 1,
            quantities: vec![("input_tokens".to_owned(), i64::MAX), ("output_tokens".to_owned(), i64::MAX)],
        };
        let chart = Chart::new(&[sum], from, to, Step::Day);
        assert_eq!(chart.bars.len(), 2);
        let drawn = HEIGHT - TOP - BOTTOM;
        assert!(chart.bars.iter().all(|bar| bar.input_height <= drawn && bar.input_height >= 0));
        assert_eq!(Chart::new(&[], from, to, Step::Hour).bars.len(), 37);
        assert_eq!(round_up(0), 4);
        assert_eq!(round_up(81), 120);
    }
}
