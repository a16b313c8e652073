//! Reads an object into a struct without failing on unknown or repeated fields.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::reader::Reader;

/// Hands a struct its known fields, and notes the others.
pub(super) struct Object<'r, 'a> {
    pub(super) raw: &'a RawValue,
    pub(super) path: &'r str,
    pub(super) reader: &'r mut Reader<'a>,
}

impl<'de> Deserializer<'de> for Object<'_, 'de> {
    type Error = serde_json::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let Members(mut members) = Deserialize::deserialize(self.raw)?;
        let mut seen = Vec::with_capacity(fields.len());
        members.retain(|(key, value)| {
            if !fields.contains(&key.as_str()) {
                self.reader.report(value.get(), self.path, Unknown { key, fields });
                return false;
            }
            if seen.contains(key) {
                let message = format_args!("{key:?} is written twice: keep one of them");
                self.reader.report(value.get(), self.path, message);
                return false;
            }
            seen.push(key.clone());
            true
        });
        visitor.visit_map(MapDeserializer::new(members.into_iter()))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.raw.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The members of an object in the order of the text, with repetitions.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor(PhantomData))
    }
}

struct MembersVisitor<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for MembersVisitor<'a> {
    type Value = Members<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'a>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

/// Complains about a field that does not exist.
struct Unknown<'a> {
    key: &'a str,
    fields: &'static [&'static str],
}

impl fmt::Display for Unknown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key: String = self.key.chars().take(64).collect();
        write!(f, "unknown field {key:?}: ")?;
        // Half of the letters may differ; with less in common the guess would mislead.
        let near = |field: &&&str| strsim::normalized_damerau_levenshtein(&key, field);
        let nearest = self.fields.iter().max_by(|a, b| near(a).total_cmp(&near(b)));
        match nearest.filter(|field| near(field) >= 0.5) {
            Some(field) => write!(f, "did you mean {field:?}?"),
            None => write!(f, "remove it; the fields here are {}", self.fields.join(", ")),
        }
    }
}
