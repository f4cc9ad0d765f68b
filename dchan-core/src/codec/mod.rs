//! Users' values to bytes and back, in postcard, without trusting how deeply they are nested.
//!
//! postcard itself follows a recursive type as deep as the bytes say, until the stack is used up and the
//! process is gone. Everything here goes [`MAX_DEPTH`] deep and no further.

mod de;
mod ser;
#[cfg(test)]
mod tests;

use std::cell::Cell;

use serde::{Serialize, de::DeserializeOwned};

/// How deeply a value may be nested. Each struct, enum, option, tuple, list, map or newtype within
/// another one counts.
pub(crate) const MAX_DEPTH: u32 = 128;

/// How many elements a list or a map may have if they take up no bytes: more than that, and a few bytes
/// could keep a processor busy for ever.
const MOST_EMPTY: usize = 1024;

/// The most elements that a type may set room aside for before they are decoded.
const MOST_SET_ASIDE: usize = 4096;

/// Stands for a value that is nested too deeply: postcard itself does not say this when it encodes.
const TOO_DEEP: postcard::Error = postcard::Error::WontImplement;

/// A deserializer of serde's, or a part of one, and how much deeper it may go.
struct Bounded<I> {
    inner: I,
    depth: u32,
    /// The bytes of the whole value: no list can have more elements that take up any.
    bytes: usize,
    /// How many more elements it may have.
    elements: usize,
}

impl<I> Bounded<I> {
    /// Something at the same depth.
    fn with<J>(&self, inner: J) -> Bounded<J> {
        Bounded { inner, depth: self.depth, bytes: self.bytes, elements: usize::MAX }
    }
}

/// Encodes a value.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized, F>(value: &T, into: F) -> postcard::Result<F::Output>
where
    F: postcard::ser_flavors::Flavor,
{
    let (mut serializer, hit) = (postcard::Serializer { output: into }, Cell::new(false));
    let encoded = value.serialize(ser::Deep::new(&mut serializer, MAX_DEPTH, &hit));
    encoded.map_err(|error| if hit.get() { TOO_DEEP } else { error })?;
    serializer.output.finalize().map_err(|_| postcard::Error::SerializeBufferFull)
}

/// Why a value could not be encoded, in words.
pub(crate) fn reason(error: &postcard::Error) -> String {
    match *error {
        TOO_DEEP => format!("it is nested more than {MAX_DEPTH} deep"),
        _ => error.to_string(),
    }
}

/// Decodes a value that takes up all the bytes, in postcard, from somebody who is not trusted: what the
/// bytes say of lengths sets no memory aside, and a value that is nested more than 128 deep is `None`, as
/// is all else that cannot be decoded. For what a membership hears from other nodes.
#[inline]
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let mut deserializer = postcard::Deserializer::from_bytes(bytes);
    let inner = &mut deserializer;
    let bounded = Bounded { inner, depth: MAX_DEPTH, bytes: bytes.len(), elements: usize::MAX };
    let value = T::deserialize(bounded).ok()?;
    // What is left over would be another type's.
    deserializer.finalize().is_ok_and(<[u8]>::is_empty).then_some(value)
}
