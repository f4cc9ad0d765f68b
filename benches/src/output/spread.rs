//! The middle of some values, and how far they are from it.

/// The middle of some values, and how far they are from it. All `NaN` if there are none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    /// A quarter is below the first, and a quarter above the second.
    pub(crate) quartiles: [f64; 2],
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |part| quantile(&sorted, part);
        Self { median: at(0.5), quartiles: [at(0.25), at(0.75)], least: at(0.0), most: at(1.0) }
    }

    /// The median, the quartiles, and the least and the most.
    pub(crate) fn show(&self) -> String {
        let Self { median, quartiles: [first, third], least, most } = *self;
        let [median, first, third, least, most] = [median, first, third, least, most].map(short);
        format!("{median} [{first}-{third}] ({least}-{most})")
    }

    /// The median and the quartiles.
    pub(crate) fn show_middle(&self) -> String {
        let [first, third] = self.quartiles.map(short);
        format!("{} [{first}-{third}]", short(self.median))
    }
}

/// The value that so great a part of the others is below, on a straight line between two of them.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = part * last as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

/// A number as it is read easily: three digits or so.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 999_950.0 => format!("{:.2}M", value / 1e6),
        size if size >= 9_999.5 => format!("{:.1}k", value / 1e3),
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_values() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]);
        assert_eq!((spread.least, spread.median, spread.most), (1.0, 2.5, 4.0));
        assert_eq!(spread.quartiles, [1.75, 3.25]);
        assert_eq!(Spread::of([7.0]).quartiles, [7.0, 7.0]);
        assert!(Spread::of([]).median.is_nan());
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.1234, 9.996, 99.96, 9_999.6, 123_456.0, 999_951.0, 14_500_000.0];
        let shown = ["0.12", "10.0", "100", "10.0k", "123.5k", "1.00M", "14.50M"];
        assert_eq!(numbers.map(short), shown);
    }
}
