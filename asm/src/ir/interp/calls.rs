//! Stage: the intermediate representation, run as it is. Calls: functions of the module, helpers, and helpers that call back.
//!
//! Input: who is called, and the arguments. Output: the result. What a helper does is `../../vm/helpers/`; those that
//! leave the function (tail calls) or come back into the module (callbacks) are here. Next: `../../codegen/opt/mod.rs`.

use super::super::func::Callee;
use super::run::{Done, Run, Stop, unknown};
use crate::insn::helper;
use crate::vm::{self, FUNC_BASE};

/// `-ENOENT`.
const ENOENT: i64 = -2;
/// `-EINVAL`.
const EINVAL: i64 = -22;
/// `-E2BIG`.
const E2BIG: i64 = -7;
/// The kernel's `BPF_MAX_LOOPS`.
const MAX_LOOPS: u64 = 8 << 20;

impl Run<'_> {
    /// Makes a call.
    pub(super) fn called(&mut self, callee: &Callee, args: &[u64]) -> Result<Done, Stop> {
        let mut five = [0; 5];
        for (place, arg) in five.iter_mut().zip(args) {
            *place = *arg;
        }
        let value = match callee {
            Callee::Func(name) => {
                let index = self.func_named(name)?;
                self.call(index, args).map_err(Stop::There)?
            }
            Callee::Kfunc(name) => {
                let id = vm::kfunc(name).ok_or_else(|| unknown("kernel function", name))?;
                self.vm.help_kfunc(id, five)?
            }
            Callee::Helper(helper::TAIL_CALL) => return self.tail_call(five),
            Callee::Helper(helper::LOOP) => self.repeat(five)?,
            Callee::Helper(helper::FOR_EACH_MAP_ELEM) => self.for_each(five)?,
            Callee::Helper(id) => self.vm.help(id.0, five)?,
        };
        Ok(Done::Value(value))
    }

    /// `bpf_tail_call`: the rest of the program is another one.
    fn tail_call(&mut self, [ctx, map, index, ..]: [u64; 5]) -> Result<Done, Stop> {
        match self.vm.tail_target(map, index, self.funcs.len())? {
            Some(target) => self.call(target, &[ctx]).map(Done::Program).map_err(Stop::There),
            None => Ok(Done::Value(ENOENT.cast_unsigned())),
        }
    }

    /// The function at an address.
    fn function(&self, helper: &'static str, address: u64) -> Result<usize, Stop> {
        let index = usize::try_from(address ^ FUNC_BASE).ok().filter(|index| *index < self.funcs.len());
        index.ok_or_else(|| vm::FaultKind::BadCall { helper, why: format!("{address:#x} is no function") }.into())
    }

    /// `bpf_loop`: the function is called until it gives something else than 0.
    fn repeat(&mut self, [count, function, context, flags, _]: [u64; 5]) -> Result<u64, Stop> {
        let function = self.function("bpf_loop", function)?;
        // The kernel's parameter is 32 bits wide.
        let count = count & u64::from(u32::MAX);
        if flags != 0 || count > MAX_LOOPS {
            return Ok(if flags != 0 { EINVAL } else { E2BIG }.cast_unsigned());
        }
        for round in 0..count {
            if self.call(function, &[round, context]).map_err(Stop::There)? != 0 {
                return Ok(round + 1);
            }
        }
        Ok(count)
    }

    /// `bpf_for_each_map_elem`: the function is called with each element.
    fn for_each(&mut self, [map, function, context, flags, _]: [u64; 5]) -> Result<u64, Stop> {
        let name = "bpf_for_each_map_elem";
        let (function, index) = (self.function(name, function)?, self.vm.map_index(name, map)?);
        if flags != 0 {
            return Ok(EINVAL.cast_unsigned());
        }
        let cpu = self.vm.host().cpu;
        let keys = self.vm.map_at(index).map(|(map, _)| map.keys()).unwrap_or_default();
        let mut seen = 0;
        for key in keys {
            let Some(value) = self.vm.map_at(index).and_then(|(map, _)| map.lookup(&key, cpu)) else { continue };
            let key = self.vm.lend(key).address(0);
            seen += 1;
            if self.call(function, &[map, key, value, context]).map_err(Stop::There)? != 0 {
                break;
            }
        }
        Ok(seen)
    }
}
