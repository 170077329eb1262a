//! Values under small numbers that are given out again, but not before [`Slab::settle`]: what the kernel told of an old value
//! in the same round of the loop must not be taken for news of a new one.

/// A list with holes.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
    /// Numbers that are free after this round.
    resting: Vec<usize>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new(), resting: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Takes `value` in; returns its number.
    pub fn insert(&mut self, value: T) -> usize {
        match self.free.pop() {
            Some(index) => {
                self.places[index] = Some(value);
                index
            }
            None => {
                self.places.push(Some(value));
                self.places.len() - 1
            }
        }
    }

    /// The number that the next value will get.
    #[must_use]
    pub fn next(&self) -> usize {
        self.free.last().copied().unwrap_or(self.places.len())
    }

    /// The value with this number.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.places.get_mut(index)?.as_mut()
    }

    /// Gives the value back; its number is free after the next [`Self::settle`].
    pub fn remove(&mut self, index: usize) -> Option<T> {
        let value = self.places.get_mut(index)?.take()?;
        self.resting.push(index);
        Some(value)
    }

    /// A new round: numbers of values that were removed may be given out.
    pub fn settle(&mut self) {
        self.free.append(&mut self.resting);
    }

    /// All values, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }

    /// All values and their numbers.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        self.places.iter_mut().enumerate().filter_map(|(index, place)| Some((index, place.as_mut()?)))
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len() - self.resting.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_out_again() {
        let mut slab = Slab::default();
        assert_eq!((slab.insert('a'), slab.insert('b')), (0, 1));
        assert_eq!((slab.remove(0), slab.remove(0), slab.len()), (Some('a'), None, 1));
        assert_eq!(slab.next(), 2, "not in the same round");
        slab.settle();
        assert_eq!((slab.next(), slab.insert('c'), slab.next(), slab.len()), (0, 0, 2, 2));
        assert_eq!(slab.iter_mut().map(|(index, value)| (index, *value)).collect::<Vec<_>>(), [(0, 'c'), (1, 'b')]);
        assert!(slab.get_mut(2).is_none() && !slab.is_empty());
    }
}
