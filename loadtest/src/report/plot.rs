//! Chart as inline SVG. The colours are those of the light page. `page.css` maps each of them to its counterpart on a
//! dark page, by the attribute that contains it.

use std::ops::Range;

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

/// Chart with its title and legend.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// Text below the chart that explains it.
    pub(super) note: &'static str,
    pub(super) unit: Unit,
    pub(super) across: Across,
    pub(super) scale: Scale,
    /// Range of the horizontal axis. Charts over the same time have the same range.
    pub(super) span: Range<f64>,
    pub(super) lines: Vec<ChartLine>,
    pub(super) bands: Vec<Band>,
}

/// Line of a chart. NaN is a gap.
#[derive(Debug)]
pub(super) struct ChartLine {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Time range of a fault.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Band {
    pub(super) name: String,
    pub(super) from: f64,
    pub(super) until: f64,
}

/// Unit of the values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    Milliseconds,
    PerSecond,
    Percent,
    Mebibytes,
    Microseconds,
    Count,
}

/// Meaning of the horizontal axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Across {
    Seconds,
    /// Number of nines: 1 is the 90th percentile, 2 the 99th.
    Nines,
    /// Binary logarithm of a number.
    Doublings,
    /// Decimal logarithm of a number.
    Tens,
}

/// Scale of the vertical axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scale {
    Linear,
    Logarithmic,
}

/// Colours of the lines, in order. Further lines begin again with the first.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x2A, 0x78, 0xD6),
    RGBColor(0xED, 0xA1, 0x00),
    RGBColor(0x1B, 0xAF, 0x7A),
    RGBColor(0x4A, 0x3A, 0xA7),
    RGBColor(0xE8, 0x7B, 0xA4),
    RGBColor(0x00, 0x83, 0x00),
];
const GRID: RGBColor = RGBColor(0xE4, 0xE4, 0xE1);
const AXIS: RGBColor = RGBColor(0xC3, 0xC2, 0xB7);
const LABEL: RGBColor = RGBColor(0x6B, 0x6A, 0x66);
const FAULT: RGBColor = RGBColor(0xE3, 0x49, 0x48);
const SIZE: (u32, u32) = (640, 240);

/// Returns the colour of a line by its index.
pub(super) fn colour(line: usize) -> String {
    let RGBColor(red, green, blue) = COLOURS[line % COLOURS.len()];
    format!("#{red:02X}{green:02X}{blue:02X}")
}

// === impl Chart ===

impl Chart {
    /// Returns the CSS class of a line's legend entry, by its index.
    pub(super) fn chip(line: usize) -> String {
        format!("c{}", line % COLOURS.len())
    }

    /// Returns `true` if no line has a value.
    pub(super) fn is_empty(&self) -> bool {
        !self
            .lines
            .iter()
            .any(|line| line.points.iter().any(|(_, y)| y.is_finite()))
    }

    /// Returns the chart as SVG; empty if it has no valid layout.
    pub(super) fn svg(&self) -> String {
        let mut out = String::new();
        let drawn = match self.scale {
            Scale::Linear => self.draw(&mut out, 0.0..self.most() * 1.08),
            Scale::Logarithmic => {
                // Whole decades, or plotters would place the labels at odd values.
                let (least, most) = (self.least(), self.most());
                let bottom = 10f64.powf(least.log10().floor());
                let top = 10f64.powf((most * 1.01).log10().ceil());
                self.draw(&mut out, (bottom..top).log_scale())
            }
        };
        // A write to a string cannot fail. A chart without a valid layout is left out, and the report is still written.
        if drawn.is_ok() { out } else { String::new() }
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        let values = self.lines.iter().flat_map(|line| &line.points);
        values.map(|(_, y)| *y).filter(|y| y.is_finite())
    }

    fn most(&self) -> f64 {
        self.values().fold(1e-3, f64::max)
    }

    fn least(&self) -> f64 {
        self.values().filter(|y| *y > 0.0).fold(self.most(), f64::min)
    }

    fn draw<Y>(&self, out: &mut String, y: Y) -> Result<(), Box<dyn std::error::Error + '_>>
    where
        Y: AsRangedCoord<Value = f64>,
        Y::CoordDescType: ValueFormatter<f64> + Ranged<ValueType = f64>,
    {
        let x = self.span.clone();
        let labels = match self.across {
            Across::Seconds => 9,
            Across::Nines | Across::Doublings | Across::Tens => (x.end - x.start) as usize + 1,
        };
        let root = SVGBackend::with_string(out, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(6)
            .margin_right(match self.across {
                Across::Seconds => 14,
                Across::Nines | Across::Doublings | Across::Tens => 34, // half of the last label stands beyond the axis
            })
            .x_label_area_size(26)
            .y_label_area_size(58)
            .build_cartesian_2d(x.clone(), y)
            .map_err(|error| error.to_string())?;
        let range = chart.y_range();
        let (bottom, top) = (range.start, range.end);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(AXIS)
            .label_style(("sans-serif", 14, &LABEL))
            .x_labels(labels)
            .y_labels(6)
            .x_label_formatter(&|x| self.across.label(*x))
            .y_label_formatter(&|y| self.unit.label(*y))
            .draw()
            .map_err(|error| error.to_string())?;
        // Bands first: the lines are drawn over them.
        for band in &self.bands {
            let area = [(band.from, bottom), (band.until.min(x.end), top)];
            let area = Rectangle::new(area, FAULT.mix(0.10).filled());
            let edge = PathElement::new([(band.from, bottom), (band.from, top)], FAULT.mix(0.7));
            let text = ("sans-serif", 13).into_font().color(&FAULT);
            let name = EmptyElement::at((band.from, top)) + Text::new(band.name.clone(), (4, 3), text);
            chart.draw_series([area]).map_err(|error| error.to_string())?;
            chart.draw_series([edge]).map_err(|error| error.to_string())?;
            chart.draw_series([name]).map_err(|error| error.to_string())?;
        }
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            for stretch in line.points.split(|(_, y)| !y.is_finite()) {
                // A logarithmic scale has no zero, so zeros are drawn at the bottom.
                let points = stretch.iter().map(|(x, y)| (*x, y.max(bottom)));
                let series = LineSeries::new(points, colour.stroke_width(2));
                chart.draw_series(series).map_err(|error| error.to_string())?;
            }
        }
        root.present().map_err(|error| error.to_string())?;
        // Both borrow `out`, which the caller returns.
        drop(chart);
        drop(root);
        Ok(())
    }
}

// === impl Unit, Across ===

impl Unit {
    fn label(self, value: f64) -> String {
        let number = match value {
            v if v >= 1_000_000.0 => format!("{}M", short(v / 1_000_000.0)),
            v if v >= 10_000.0 => format!("{}k", short(v / 1000.0)),
            v => short(v),
        };
        match self {
            Unit::Milliseconds if value >= 1000.0 => format!("{} s", short(value / 1000.0)),
            Unit::Milliseconds => format!("{number} ms"),
            Unit::PerSecond => format!("{number}/s"),
            Unit::Percent => format!("{number} %"),
            Unit::Mebibytes => format!("{number} MiB"),
            Unit::Microseconds => format!("{number} µs"),
            Unit::Count => number,
        }
    }
}

impl Across {
    fn label(self, x: f64) -> String {
        match self {
            Across::Seconds => format!("{} s", short(x)),
            Across::Nines => format!("{}%", short(100.0 * (1.0 - 10f64.powf(-x)))),
            Across::Doublings => short(x.exp2()),
            Across::Tens => short(10f64.powf(x)),
        }
    }
}

/// Formats a number without trailing zeros.
fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(scale: Scale) -> Chart {
        Chart {
            title: "t",
            note: "",
            unit: Unit::Milliseconds,
            across: Across::Seconds,
            scale,
            span: 0.0..4.0,
            lines: vec![
                ChartLine {
                    name: "a".to_owned(),
                    points: vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 90.0), (3.0, 0.0)],
                },
                ChartLine {
                    name: "b".to_owned(),
                    points: Vec::new(),
                },
            ],
            bands: vec![Band {
                name: "kill <2>".to_owned(),
                from: 1.0,
                until: 9.0,
            }],
        }
    }

    #[test]
    fn a_gap_splits_a_line_and_a_fault_has_its_name() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let svg = chart(scale).svg();
            let drawn = svg.matches("stroke=\"#2A78D6\"").count();
            assert!(drawn >= 1 && svg.contains("kill &lt;2&gt;"), "{svg}");
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        }
    }

    #[test]
    fn labels_are_short() {
        assert_eq!(Unit::PerSecond.label(12_500.0), "12.5k/s");
        assert_eq!(Unit::Milliseconds.label(1500.0), "1.5 s");
        assert_eq!(Across::Nines.label(3.0), "99.9%");
    }
}
