use std::cell::Cell;

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// A serializer of serde's, or a part of one, and how much deeper it may go.
pub(super) struct Deep<'a, S> {
    inner: S,
    depth: u32,
    /// Set when it would have gone deeper.
    hit: &'a Cell<bool>,
}

/// A value within another one.
struct Within<'a, T: ?Sized> {
    value: &'a T,
    depth: u32,
    hit: &'a Cell<bool>,
}

impl<'a, S> Deep<'a, S> {
    pub(super) fn new(inner: S, depth: u32, hit: &'a Cell<bool>) -> Self {
        Self { inner, depth, hit }
    }

    /// Begins what holds other values.
    #[inline]
    fn enter<J, E: Error>(self, begin: impl FnOnce(S) -> Result<J, E>) -> Result<Deep<'a, J>, E> {
        let Some(depth) = self.depth.checked_sub(1) else {
            self.hit.set(true);
            return Err(E::custom("nested too deeply"));
        };
        Ok(Deep { inner: begin(self.inner)?, depth, hit: self.hit })
    }

    /// A value in what was begun.
    #[inline]
    fn within<'b, T: ?Sized>(&self, value: &'b T) -> Within<'b, T>
    where
        'a: 'b,
    {
        Within { value, depth: self.depth, hit: self.hit }
    }
}

impl<T: Serialize + ?Sized> Serialize for Within<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Deep { inner: serializer, depth: self.depth, hit: self.hit })
    }
}

macro_rules! flat {
    ($($name:ident($type:ty))*) => {
        $(
            #[inline]
            fn $name(self, value: $type) -> Result<S::Ok, S::Error> {
                self.inner.$name(value)
            }
        )*
    };
}

/// What holds one other value.
macro_rules! single {
    ($($name:ident($($arg:ident: $type:ty),*))*) => {
        $(
            #[inline]
            fn $name<T: Serialize + ?Sized>(self, $($arg: $type,)* value: &T) -> Result<S::Ok, S::Error> {
                let entered = self.enter(Ok)?;
                let value = entered.within(value);
                entered.inner.$name($($arg,)* &value)
            }
        )*
    };
}

/// What holds many.
macro_rules! many {
    ($($name:ident($($arg:ident: $type:ty),*) -> $part:ident)*) => {
        $(
            #[inline]
            fn $name(self, $($arg: $type),*) -> Result<Deep<'a, S::$part>, S::Error> {
                self.enter(|inner| inner.$name($($arg),*))
            }
        )*
    };
}

impl<'a, S: Serializer> Serializer for Deep<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Deep<'a, S::SerializeSeq>;
    type SerializeTuple = Deep<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Deep<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Deep<'a, S::SerializeTupleVariant>;
    type SerializeMap = Deep<'a, S::SerializeMap>;
    type SerializeStruct = Deep<'a, S::SerializeStruct>;
    type SerializeStructVariant = Deep<'a, S::SerializeStructVariant>;

    flat! {
        serialize_bool(bool) serialize_i8(i8) serialize_i16(i16) serialize_i32(i32)
        serialize_i64(i64) serialize_i128(i128) serialize_u8(u8) serialize_u16(u16)
        serialize_u32(u32) serialize_u64(u64) serialize_u128(u128) serialize_f32(f32)
        serialize_f64(f64) serialize_char(char) serialize_str(&str) serialize_bytes(&[u8])
        serialize_unit_struct(&'static str)
    }

    single! {
        serialize_some()
        serialize_newtype_struct(name: &'static str)
        serialize_newtype_variant(name: &'static str, index: u32, variant: &'static str)
    }

    many! {
        serialize_seq(len: Option<usize>) -> SerializeSeq
        serialize_tuple(len: usize) -> SerializeTuple
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeTupleVariant
        serialize_map(len: Option<usize>) -> SerializeMap
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeStructVariant
    }

    #[inline]
    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_none()
    }

    #[inline]
    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    #[inline]
    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! parts {
    ($($part:ident: $($name:ident)*;)*) => {
        $(
            impl<S: $part> $part for Deep<'_, S> {
                type Ok = S::Ok;
                type Error = S::Error;

                $(
                    #[inline]
                    fn $name<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                        let value = self.within(value);
                        self.inner.$name(&value)
                    }
                )*

                #[inline]
                fn end(self) -> Result<S::Ok, S::Error> {
                    self.inner.end()
                }
            }
        )*
    };
}

macro_rules! named_parts {
    ($($part:ident)*) => {
        $(
            impl<S: $part> $part for Deep<'_, S> {
                type Ok = S::Ok;
                type Error = S::Error;

                #[inline]
                fn serialize_field<T: Serialize + ?Sized>(
                    &mut self,
                    key: &'static str,
                    value: &T,
                ) -> Result<(), S::Error> {
                    let value = self.within(value);
                    self.inner.serialize_field(key, &value)
                }

                #[inline]
                fn skip_field(&mut self, key: &'static str) -> Result<(), S::Error> {
                    self.inner.skip_field(key)
                }

                #[inline]
                fn end(self) -> Result<S::Ok, S::Error> {
                    self.inner.end()
                }
            }
        )*
    };
}

parts! {
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
    SerializeMap: serialize_key serialize_value;
}

named_parts! { SerializeStruct SerializeStructVariant }
