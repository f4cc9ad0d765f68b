use std::path::PathBuf;

use crate::{Contenders, Point, Setup, Workload, contender::Known};

/// What is run.
#[derive(clap::Args)]
pub(crate) struct Plan {
    /// What is measured of each contender.
    #[arg(long, value_delimiter = ',', default_value = "throughput")]
    workloads: Vec<Workload>,
    /// Repetitions. Each goes through all points.
    #[arg(long, default_value_t = 5)]
    pub(super) reps: usize,
    /// How long each sends, in seconds.
    #[arg(long, default_value_t = 3.0, value_parser = secs)]
    pub(super) secs: f64,
    /// The sizes of messages, in bytes, instead of those that a workload has by itself.
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<usize>,
    /// Only these cases of workloads that have several.
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// Who is measured. The first is what the others are compared with.
    #[arg(long, value_delimiter = ',')]
    contenders: Vec<String>,
    /// Print one JSON object with all repetitions instead of tables.
    #[arg(long)]
    pub(super) json: bool,
    /// Draw medians, quartiles, least and most into this file, an SVG.
    #[arg(long, value_parser = svg)]
    pub(super) plot: Option<PathBuf>,
}

impl Plan {
    /// All points, in the order of the table. Of those that cannot be run, it is said why not.
    pub(super) fn points(&self, contenders: &Contenders) -> anyhow::Result<Vec<Point>> {
        let mut points = Vec::new();
        for &workload in &self.workloads {
            for size in self.sizes_of(workload) {
                for contender in &self.contenders {
                    points.extend(self.cases(contenders, workload, size, contender)?);
                }
            }
        }
        anyhow::ensure!(!points.is_empty(), "nothing is left to be run");
        Ok(points)
    }

    fn sizes_of(&self, workload: Workload) -> Vec<usize> {
        match workload.has_sizes() {
            false => vec![0],
            true if self.sizes.is_empty() => workload.sizes().to_vec(),
            true => self.sizes.clone(),
        }
    }

    fn cases(
        &self,
        contenders: &Contenders,
        workload: Workload,
        size: usize,
        contender: &str,
    ) -> anyhow::Result<Vec<Point>> {
        let known = contenders.get(contender)?;
        let point = |case: &&str| Point {
            workload,
            case: (*case).to_owned(),
            contender: contender.to_owned(),
            size,
            secs: self.secs,
        };
        let wanted = |case: &&&str| {
            let any = self.cases.is_empty() || workload.cases().len() == 1;
            any || self.cases.iter().any(|wanted| wanted == **case)
        };
        let points: Vec<_> = workload.cases().iter().filter(wanted).map(point).collect();
        let lacks = match workload.is_of_dchan() {
            true => known.channel().err().map(|error| error.to_string()),
            false => points.first().and_then(|point| lacks(known, point)),
        };
        let Some(lacks) = lacks else { return Ok(points) };
        eprintln!("{contender} is left out of {}, {size} bytes: {lacks}", workload.word());
        Ok(Vec::new())
    }
}

/// What keeps a contender from a run, if anything does.
fn lacks(known: &Known, point: &Point) -> Option<String> {
    let Setup { senders, receivers, .. } = point.setup();
    if known.in_one_process && senders + receivers > 2 {
        return Some("its ends are in one process".to_owned());
    }
    known.player().lacks(point)
}

fn secs(word: &str) -> Result<f64, String> {
    let secs = word.parse().ok().filter(|secs| (0.01..=3600.0).contains(secs));
    secs.ok_or_else(|| "expected 0.01 to 3600".to_owned())
}

fn svg(word: &str) -> Result<PathBuf, String> {
    let file = PathBuf::from(word);
    match file.extension() {
        Some(extension) if extension == "svg" => Ok(file),
        _ => Err("expected the name of a file that ends in .svg".to_owned()),
    }
}
