//! JSON objects of which not every key is understood: what is unknown is kept as it was.
//!
//! Serde's own `flatten` would read values through a buffer that changes numbers, so objects are read here key by key.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// Keys and raw values that are kept but not understood, in their order; the values byte for byte.
#[derive(Clone, Default)]
pub struct Unknown(Vec<(String, Box<RawValue>)>);

/// The keys of an object with their raw values, each key once.
pub(super) struct Keys(Vec<(String, Box<RawValue>)>);

impl Keys {
    /// Removes a key and reads its value; `None` if it is missing or null.
    pub(super) fn take<T: DeserializeOwned, E: de::Error>(
        &mut self,
        key: &str,
    ) -> Result<Option<T>, E> {
        let Some(at) = self.0.iter().position(|(name, _)| name == key) else {
            return Ok(None);
        };
        let (_, raw) = self.0.remove(at);
        read(key, &raw)
    }

    /// As [`Keys::take`], for a key without which the object means nothing.
    pub(super) fn need<T: DeserializeOwned, E: de::Error>(
        &mut self,
        key: &'static str,
    ) -> Result<T, E> {
        self.take(key)?.ok_or_else(|| E::missing_field(key))
    }

    /// Every key with its value, all of one type.
    pub(super) fn read_all<T: DeserializeOwned, C: FromIterator<(String, T)>, E: de::Error>(
        self,
    ) -> Result<C, E> {
        let entries = self.0.into_iter();
        entries
            .map(|(key, raw)| read(&key, &raw).map(|value| (key, value)))
            .collect()
    }

    /// What is left when all that is known was taken.
    pub(super) fn rest(self) -> Unknown {
        Unknown(self.0)
    }
}

fn read<T: DeserializeOwned, E: de::Error>(key: &str, raw: &RawValue) -> Result<T, E> {
    serde_json::from_str(raw.get())
        .map_err(|error| E::custom(format!("`{}`: {error}", super::excerpt(key))))
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeysVisitor;

        impl<'de> Visitor<'de> for KeysVisitor {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut seen = BTreeSet::new();
                let mut keys = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if !seen.insert(key.clone()) {
                        let key = super::excerpt(&key);
                        return Err(de::Error::custom(format!("the key `{key}` appears twice")));
                    }
                    keys.push((key, value));
                }
                Ok(Keys(keys))
            }
        }

        deserializer.deserialize_map(KeysVisitor)
    }
}

impl Unknown {
    fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, raw)| (key.as_str(), raw.get()))
    }
}

impl PartialEq for Unknown {
    fn eq(&self, other: &Self) -> bool {
        self.entries().eq(other.entries())
    }
}

impl Eq for Unknown {}

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries()).finish()
    }
}

impl Serialize for Unknown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_shown_as_it_was() {
        let keys: Keys = serde_json::from_str(r#"{"b": 1.50, "a": null}"#).unwrap();
        assert_eq!(
            format!("{:?}", keys.rest()),
            r#"{"b": "1.50", "a": "null"}"#
        );
    }

    #[test]
    fn anything_but_an_object_is_refused_and_told_what_would_be_right() {
        for text in ["[]", "1", "\"a\"", "null"] {
            let fault = serde_json::from_str::<Keys>(text).err().unwrap();
            let fault = fault.to_string();
            assert!(fault.contains("expected a JSON object"), "{fault}");
        }
    }
}
