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

/// Maps in maps nest once.
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
        let mut map = Some(MapDef::new(name, map_type));
        if self.tok.tok == op("{") {
            self.block(|p| {
                let Some(so_far) = map.take() else { return Ok(()) };
                match p.map_field(so_far.clone(), inside) {
                    Ok(more) => map = Some(more),
                    Err(error) => {
                        map = Some(so_far);
                        return Err(error);
                    }
                }
                Ok(())
            })?;
        }
        map.map_or_else(|| wrong(span, "this map has no definition"), Ok)
    }

    fn map_field(&mut self, map: MapDef, inside: bool) -> Parsed<MapDef> {
        let span = self.tok.span();
        let field = self.name("a field of the map")?;
        self.expect(":")?;
        Ok(match field {
            "key" => map.key(self.type_expr()?.ty()),
            "value" => map.value(self.type_expr()?.ty()),
            "key_size" => map.key_size(self.unsigned()?),
            "value_size" => map.value_size(self.unsigned()?),
            "max_entries" => map.max_entries(self.unsigned()?),
            "flags" => map.flags(self.unsigned()?),
            "numa_node" => map.numa_node(self.unsigned()?),
            "pinning" => map.pinning(self.pinning()?),
            "inner" if inside => return wrong(span, "maps nest once"),
            "inner" => map.inner(self.map_def("inner", true)?),
            "slots" => self.slots(map)?,
            _ => {
                let near = nearest(field, FIELDS.iter().copied()).map(|near| format!("did you mean `{near}`? "));
                let help = format!("{}fields are {}", near.unwrap_or_default(), FIELDS.join(", "));
                return wrong_help(span, format!("a map has no field `{field}`"), help);
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

    /// `[name, name]`: what a map of maps or programs holds from the start.
    fn slots(&mut self, mut map: MapDef) -> Parsed<MapDef> {
        self.expect("[")?;
        let mut slot = 0;
        while !self.eat("]") {
            if slot > 0 {
                self.expect(",")?;
            }
            if self.tok.tok == Tok::Name {
                let name = self.name("a map or program")?;
                map = map.slot(slot, name);
            } else if self.expr()? != 0 {
                return wrong(self.tok.span(), "an empty slot is written 0");
            }
            slot += 1;
        }
        Ok(map)
    }
}
