//! A drawing: for each point a bar from quartile to quartile, with its median, and a line from the least
//! to the most.

use std::path::Path;

use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::{
        BLACK, Cartesian2d, ChartBuilder, ChartContext, Color, DrawingArea, IntoDrawingArea,
        PathElement, RGBColor, Rectangle, SVGBackend, Text, WHITE,
    },
};

use super::{Figure, Outcome, Row, spread::short};

const WIDTH: u32 = 900;
/// Of one row.
const ROW: u32 = 40;
/// Of what is above and below the rows of a panel.
const FRAME: u32 = 80;
const BAR: RGBColor = RGBColor(70, 130, 180);
const FONT: (&str, i32) = ("sans-serif", 20);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

pub(super) fn draw(outcome: &Outcome, file: &Path) -> anyhow::Result<()> {
    let panels: Vec<&[Row]> = outcome
        .rows
        .chunk_by(|a, b| a.point.workload == b.point.workload && a.point.size == b.point.size)
        .collect();
    let height = panels.iter().map(|rows| panel_height(rows)).sum();
    let mut rest = SVGBackend::new(file, (WIDTH, height)).into_drawing_area();
    rest.fill(&WHITE)?;
    for rows in panels {
        let (panel, below) = rest.split_vertically(panel_height(rows));
        draw_panel(&panel, rows)?;
        rest = below;
    }
    rest.present()?;
    Ok(())
}

fn panel_height(rows: &[Row]) -> u32 {
    rows.len() as u32 * ROW + FRAME
}

fn draw_panel(area: &Area<'_>, rows: &[Row]) -> anyhow::Result<()> {
    let Some((first, figure)) = rows.first().and_then(|row| Some((row, row.figures().next()?)))
    else {
        return Ok(());
    };
    let most = rows.iter().map(|row| row.spread(figure).most).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title(first, figure), FONT)
        .margin(8)
        .x_label_area_size(30)
        .build_cartesian_2d(0.0..most.max(f64::MIN_POSITIVE) * 1.05, 0.0..rows.len() as f64)?;
    chart.configure_mesh().disable_y_mesh().x_label_formatter(&|x| short(*x)).draw()?;
    for (from_above, row) in (1..).zip(rows) {
        draw_row(&mut chart, (rows.len() - from_above) as f64, row, figure)?;
    }
    Ok(())
}

/// `low`: the lower edge of the row.
fn draw_row(chart: &mut Chart<'_, '_>, low: f64, row: &Row, figure: Figure) -> anyhow::Result<()> {
    let spread = row.spread(figure);
    let [first, third] = spread.quartiles;
    let line = |from, to| PathElement::new(vec![from, to], BLACK.stroke_width(2));
    let bar = Rectangle::new([(first, low + 0.1), (third, low + 0.5)], BAR.filled());
    chart.draw_series([bar])?;
    chart.draw_series([
        line((spread.least, low + 0.3), (spread.most, low + 0.3)),
        line((spread.median, low + 0.05), (spread.median, low + 0.55)),
    ])?;
    let name = format!("{} {}", row.point.contender, row.point.case);
    let name = format!("{}: {}", name.trim_end(), short(spread.median));
    chart.draw_series([Text::new(name, (0.0, low + 0.95), FONT)])?;
    Ok(())
}

fn title(row: &Row, figure: Figure) -> String {
    let workload = row.point.workload;
    match workload.has_sizes() {
        true => format!("{}, {} bytes: {}", workload.word(), row.point.size, figure.title()),
        false => format!("{}: {}", workload.word(), figure.title()),
    }
}
