/// The ways to all receivers, one after the other.
pub struct InTurn<T> {
    all: Vec<T>,
    at: usize,
}

impl<T> InTurn<T> {
    /// At least one.
    pub fn new(all: impl IntoIterator<Item = T>) -> Self {
        Self { all: all.into_iter().collect(), at: 0 }
    }

    /// The one whose turn it is.
    pub fn turn(&mut self) -> &mut T {
        self.at = if self.at + 1 < self.all.len() { self.at + 1 } else { 0 };
        &mut self.all[self.at]
    }

    /// The one that there is on a receiver's end.
    pub fn first(&mut self) -> &mut T {
        &mut self.all[0]
    }

    /// All of them.
    pub fn all(&mut self) -> &mut [T] {
        &mut self.all
    }
}

impl<T> IntoIterator for InTurn<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.into_iter()
    }
}
