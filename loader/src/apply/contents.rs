//! Stage: apply. What the manifest puts into maps: `[data]` and `[[map.NAME.entry]]`, in the words of the object's types.
//!
//! Input: a deployment and an object's spec. Output: [`Contents`], bytes by map, and how maps in use are changed from one to
//! another. Read next: `prepare.rs`.

use std::collections::BTreeMap;

use asm::object::MapType;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::btf::value::{self, hex};
use crate::load::{Variable, variable};
use crate::manifest::{Deployment, Diagnostic, Place, Section};
use crate::map::{self, Map, ORDINARY};
use crate::spec::{MapSpec, Spec};
use crate::sys::uapi::UpdateFlags;

/// Values by map, all in hexadecimal digits: by key, or for global data by the variable's offset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Contents(BTreeMap<String, BTreeMap<String, String>>);

impl Contents {
    /// Whether a map is given nothing.
    #[must_use]
    pub fn is_empty_for(&self, map: &str) -> bool {
        self.of(map).is_none_or(BTreeMap::is_empty)
    }

    /// Whether a map is given the same by both.
    #[must_use]
    pub fn is_same_for(&self, map: &str, other: &Self) -> bool {
        self.is_empty_for(map) && other.is_empty_for(map) || self.of(map) == other.of(map)
    }

    fn of(&self, map: &str) -> Option<&BTreeMap<String, String>> {
        self.0.get(map)
    }

    fn put(&mut self, map: &str, key: &[u8], value: &[u8]) {
        self.0.entry(map.to_owned()).or_default().insert(hex(key), hex(value));
    }
}

/// What the manifest says about one object.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// For maps that can change while programs run.
    pub(super) live: Contents,
    /// Every variable, constants too, as bytes: what a new object is loaded with.
    pub(super) variables: BTreeMap<String, Vec<u8>>,
    /// The constants among them, for the object's digest: a change of those is a change of the program.
    pub(super) constants: BTreeMap<String, String>,
    /// In words.
    pub(super) words: Vec<String>,
}

/// Makes bytes of what the manifest says about an object.
pub(super) fn read(deployment: &Deployment, spec: &Spec) -> Result<Given, Diagnostic> {
    let mut given = Given::default();
    let section = deployment.data.as_ref();
    let mut values: BTreeMap<String, Value> = section.map_or_else(|| Ok(BTreeMap::new()), Section::read)?;
    for (name, value) in deployment.settled.clone() {
        match (values.get_mut(&name), value) {
            // Of a struct, the members that were found out.
            (Some(Value::Object(written)), Value::Object(settled)) => written.extend(settled),
            (_, value) => drop(values.insert(name, value)),
        }
    }
    for (name, value) in &values {
        if let Some(found) = variable(spec, name) {
            let place = section.map_or_else(|| deployment.place.clone(), |section| section.locate(name));
            set_variable(&mut given, spec, name, found, value, &place)?;
        }
    }
    for (name, (options, place)) in &deployment.maps {
        let Some(map) = spec.map(name).filter(|_| !options.entry.is_empty()) else { continue };
        if !ORDINARY.contains(&map.map_type) || map.origin.is_data() {
            return Err(place.error(format!("a map of type {} takes no entries from a manifest", map.map_type)));
        }
        for (at, entry) in options.entry.iter().enumerate() {
            let part = |part| {
                let section = deployment.map_section.as_ref();
                section.map_or_else(|| place.clone(), |section| section.locate(&format!("{name}.entry.{at}.{part}")))
            };
            let key = encode(spec, map.key_type, &entry.key, map.key_size, &part("key"))?;
            let value = encode(spec, map.value_type, &entry.value, map.value_size, &part("value"))?;
            given.live.put(name, &key, &value);
        }
        given.words.push(format!("map {name}: {} entries", options.entry.len()));
    }
    Ok(given)
}

/// Every name in `[data]` is a variable of some object.
pub(super) fn check_names<'s>(
    deployment: &Deployment,
    specs: impl Iterator<Item = &'s Spec> + Clone,
) -> Result<(), Diagnostic> {
    let Some(section) = &deployment.data else { return Ok(()) };
    let values: BTreeMap<String, Value> = section.read()?;
    match values.keys().find(|name| specs.clone().all(|spec| variable(spec, name).is_none())) {
        None => Ok(()),
        Some(name) => {
            let error =
                section.locate(name).error(format!("no object of this deployment has a global variable `{name}`"));
            Err(error.help("variables are known by the object's types: compile it with `-g`"))
        }
    }
}

fn set_variable(
    given: &mut Given,
    spec: &Spec,
    name: &str,
    found: Variable,
    value: &Value,
    place: &Place,
) -> Result<(), Diagnostic> {
    let (Some(map), Ok(size)) = (spec.maps.get(found.map), u32::try_from(found.size)) else { return Ok(()) };
    let bytes = encode(spec, Some(found.ty), value, size, place)?;
    if map.origin.is_read_only() {
        given.constants.insert(name.to_owned(), hex(&bytes));
    } else {
        given.live.put(&map.name, &offset_key(found.offset), &bytes);
        given.words.push(format!("{name} = {value}"));
    }
    given.variables.insert(name.to_owned(), bytes);
    Ok(())
}

fn encode(
    spec: &Spec,
    ty: Option<asm::btf::TypeId>,
    value: &Value,
    size: u32,
    place: &Place,
) -> Result<Vec<u8>, Diagnostic> {
    let Some((btf, ty)) = spec.btf.as_ref().zip(ty) else {
        return Err(place.error("the object does not say what type that is").help("compile it with `-g`"));
    };
    value::encode(btf, ty, value, size as usize).map_err(|error| place.error(error.to_string()))
}

fn offset_key(offset: usize) -> [u8; 8] {
    (offset as u64).to_be_bytes()
}

/// Changes what a map in use holds, from what one manifest said to what another says; what others put there stays.
///
/// # Errors
/// What the kernel refuses, half way.
pub(super) fn change(map: &Map, spec: &MapSpec, old: &Contents, new: &Contents) -> Result<(), map::Error> {
    let none = BTreeMap::new();
    let (old, new) = (old.of(&spec.name).unwrap_or(&none), new.of(&spec.name).unwrap_or(&none));
    for (key, value) in new.iter().filter(|(key, value)| old.get(*key) != Some(value)) {
        put(map, spec, &bytes(key), &bytes(value))?;
    }
    for (key, value) in old.iter().filter(|(key, _)| !new.contains_key(*key)) {
        take_back(map, spec, &bytes(key), bytes(value).len())?;
    }
    Ok(())
}

fn put(map: &Map, spec: &MapSpec, key: &[u8], value: &[u8]) -> Result<(), map::Error> {
    match key.first_chunk::<8>().filter(|_| spec.origin.is_data()) {
        Some(offset) => map.write_part(usize::try_from(u64::from_be_bytes(*offset)).unwrap_or(usize::MAX), value),
        None if map.is_per_cpu() => map.update_per_cpu(key, &[value], UpdateFlags::ANY),
        None => map.update(key, value, UpdateFlags::ANY),
    }
}

/// A variable gets back the value that its object gives it, an array's element is zero, others go.
fn take_back(map: &Map, spec: &MapSpec, key: &[u8], size: usize) -> Result<(), map::Error> {
    if let Some(offset) = key.first_chunk::<8>().filter(|_| spec.origin.is_data()) {
        let offset = usize::try_from(u64::from_be_bytes(*offset)).unwrap_or(usize::MAX);
        let initial = spec.contents.as_ref().and_then(|all| all.get(offset..offset.checked_add(size)?));
        return map.write_part(offset, initial.unwrap_or(&vec![0; size]));
    }
    match map.map_type() {
        MapType::ARRAY | MapType::PERCPU_ARRAY => put(map, spec, key, &vec![0; size]),
        _ => map.delete(key).map(drop),
    }
}

/// Hexadecimal digits as bytes. A record holds only what [`hex`] wrote.
fn bytes(digits: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
    digits.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn digits_come_back(value: Vec<u8>) {
            proptest::prop_assert_eq!(bytes(&hex(&value)), value);
        }
    }

    #[test]
    fn contents_are_compared_map_by_map() {
        let (mut one, mut two) = (Contents::default(), Contents::default());
        one.put("a", &[1], &[2]);
        assert!(one.is_same_for("b", &two) && !one.is_same_for("a", &two) && !one.is_empty_for("a"));
        two.put("a", &[1], &[3]);
        assert!(!one.is_same_for("a", &two));
        two.put("a", &[1], &[2]);
        assert!(one.is_same_for("a", &two));
        let text = serde_json::to_string(&two).unwrap();
        assert_eq!(text, r#"{"a":{"01":"02"}}"#);
    }
}
