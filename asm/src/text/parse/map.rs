//! Stage: text in. Maps.
//!
//! Input: tokens after `.map`. Output: [`MapDef`]. Next: `directive.rs`.
//!
//! ```text
//! .map vips: hash { key: VipKey, value: Vip, max_entries: 512 }
//! .map outer: array_of_maps { key: u32, max_entries: 4, inner: hash { key: u32, value: u64, max_entries: 16 } }
//! ```

use super::{Parsed, Parser, wrong, wrong_help};
use crate::object::{MapDef, MapType, Pinning};
use crate::text::diag::nearest;
use crate::text::lex::{Tok, op};
use crate::text::unit::Known;

/// What a field does to the map.
type Field = Box<dyn FnOnce(MapDef) -> MapDef>;

/// The fields, in the order in which they come into the object.
const FIELDS: &[&str] =
    &["key", "value", "key_size", "value_size", "max_entries", "flags", "numa_node", "pinning", "inner", "slots"];

impl Parser<'_> {
    /// `.map name: type { … }`.
    pub(super) fn declare_map(&mut self) -> Parsed<()> {
        let span = self.tok.span();
        let name = self.name("the map's name")?;
        self.expect(":")?;
        let map = self.map_def(name, false)?;
        self.file.take_name(name, Known::Map, &span)?;
        self.file.maps.push((name, map));
        Ok(())
    }

    fn map_def(&mut self, name: &str, inside: bool) -> Parsed<MapDef> {
        let span = self.tok.span();
        let type_name = self.name("a map type")?;
        let Some(map_type) = MapType::from_name(type_name) else {
            let known = MapType::ALL.iter().filter_map(|ty| ty.name());
            let help = match nearest(type_name, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "types are written like `hash`, `array`, `percpu_array`, `lru_hash`, `sockhash`".to_owned(),
            };
            return wrong_help(span, format!("there is no map type `{type_name}`"), help);
        };
        let mut fields: Vec<(usize, Field)> = Vec::new();
        if self.tok.tok == op("{") {
            self.block(|p| {
                let field = p.map_field(inside)?;
                fields.push(field);
                Ok(())
            })?;
        }
        // In one order, whatever the text's: the same map is the same bytes.
        fields.sort_by_key(|field| field.0);
        Ok(fields.into_iter().fold(MapDef::new(name, map_type), |map, (_, field)| field(map)))
    }

    /// A field: its place in [`FIELDS`], and what it does to the map.
    fn map_field(&mut self, inside: bool) -> Parsed<(usize, Field)> {
        let span = self.tok.span();
        let field = self.name("a field of the map")?;
        self.expect(":")?;
        let Some(place) = FIELDS.iter().position(|known| *known == field) else {
            let near = nearest(field, FIELDS.iter().copied()).map(|near| format!("did you mean `{near}`? "));
            let help = format!("{}fields are {}", near.unwrap_or_default(), FIELDS.join(", "));
            return wrong_help(span, format!("a map has no field `{field}`"), help);
        };
        if field == "inner" && inside {
            return wrong(span, "maps nest once");
        }
        Ok((place, self.map_value_of(field)?))
    }

    fn map_value_of(&mut self, field: &str) -> Parsed<Field> {
        Ok(match field {
            "key" => {
                let ty = self.type_expr()?;
                let ty = ty.ty(&self.file.types.tags);
                Box::new(|map| map.key(ty))
            }
            "value" => {
                let ty = self.type_expr()?;
                let ty = ty.ty(&self.file.types.tags);
                Box::new(|map| map.value(ty))
            }
            "pinning" => {
                let pinning = self.pinning()?;
                Box::new(move |map| map.pinning(pinning))
            }
            "inner" => {
                let inner = self.map_def("inner", true)?;
                Box::new(|map| map.inner(inner))
            }
            "slots" => self.slots()?,
            _ => {
                let number = self.unsigned()?;
                let set = match field {
                    "key_size" => MapDef::key_size,
                    "value_size" => MapDef::value_size,
                    "max_entries" => MapDef::max_entries,
                    "flags" => MapDef::flags,
                    _ => MapDef::numa_node,
                };
                Box::new(move |map| set(map, number))
            }
        })
    }

    fn pinning(&mut self) -> Parsed<Pinning> {
        let span = self.tok.span();
        match self.name("`none` or `by_name`")? {
            "none" => Ok(Pinning::None),
            "by_name" => Ok(Pinning::ByName),
            other => wrong_help(span, format!("there is no pinning `{other}`"), "it is `none` or `by_name`"),
        }
    }

    /// `[name, name]`: what a map of maps or programs holds from the start; 0 for an empty slot.
    fn slots(&mut self) -> Parsed<Field> {
        self.expect("[")?;
        let mut names: Vec<Option<String>> = Vec::new();
        while !self.eat("]") {
            if !names.is_empty() {
                self.expect(",")?;
            }
            if self.tok.tok == Tok::Name {
                names.push(Some(self.name("a map or program")?.to_owned()));
            } else if self.expr()? == 0 {
                names.push(None);
            } else {
                return wrong(self.tok.span(), "an empty slot is written 0");
            }
        }
        Ok(Box::new(move |map| {
            let named = names.iter().enumerate().filter_map(|(slot, name)| Some((slot, name.as_deref()?)));
            named.fold(map, |map, (slot, name)| map.slot(slot, name))
        }))
    }
}
