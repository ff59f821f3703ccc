//! The measured verifier matrix as a judge of the rule checker: each row that can be said in IR gets the kernel's answer,
//! for the profile of each kernel. The file is named by `VERIFIER_MATRIX`; what a row does is said here once more, in IR.

use asm::codegen::{Error, Profile, compile_func};
use asm::ir::Func;
use serde_json::Value;

/// A row of the matrix in IR, or why there is none.
enum Row {
    /// The rest of a program whose start is this.
    Ir(&'static str, &'static str),
    /// As before, with an index into 64 bytes: what computes it, and which value it is.
    Index(&'static str, &'static str),
    /// It cannot be said.
    No(&'static str),
    /// It can be said, and is refused for every kernel, though some take it.
    Stricter(&'static str, &'static str, &'static str),
}
use Row::{Index, Ir, No, Stricter};

const START: &str = "  s0 = stack 8 align 8
  s1 = stack 4 align 4
  s2 = stack 8 align 4
  m0 = map array64 array key 4 value 64 entries 1
  m1 = map hash16 hash key 4 value 8 entries 16
  g0 = var values 64
b0(v0: ctx):
  v3: i32 = 2
";
/// Nothing but the context.
const BARE: &str = "";
/// The packet.
const PACKET: &str = "  v1: pkt = load u32 v0 + 0\n  v2: pkt_end = load u32 v0 + 4\n";
/// The packet, of at least 14 bytes; `b1` passes it.
const CHECK_14: &str = "  v1: pkt = load u32 v0 + 0\n  v2: pkt_end = load u32 v0 + 4\n  \
                        check v1 + 14 <= v2 then b2 else b1\nb1:\n  return v3\nb2:\n";
/// As before, with 34 bytes.
const CHECK_34: &str = "  v1: pkt = load u32 v0 + 0\n  v2: pkt_end = load u32 v0 + 4\n  \
                        check v1 + 34 <= v2 then b2 else b1\nb1:\n  return v3\nb2:\n";
/// As before, and what lies there.
const INDEX: &str = "  v1: pkt = load u32 v0 + 0\n  v2: pkt_end = load u32 v0 + 4\n  \
                     check v1 + 34 <= v2 then b2 else b1\nb1:\n  return v3\nb2:\n  \
                     v4: i32 = load u32 v1 + 14\n  v5: i8 = load u8 v1 + 15\n  v6: i64 = load u64 v1 + 14\n  \
                     v8: *g0 = global g0 + 0\n";
/// A lookup under a constant key; `b1` passes the packet.
const LOOKUP: &str = "  jump b2\nb1:\n  return v3\nb2:\n  v4: *s1 = stack s1\n  v5: i32 = 0\n  store u32 v4 + 0, v5\n  \
                      v6: *m0 = map m0\n  v7: ?value(m0) = call map_lookup_elem(v6, v4)\n  v8: i64 = 0\n";

const ALLOCATOR: &str = "where values live is the register allocator's: a reload is the same value";
const ENCODING: &str = "which instruction says it is chosen behind the IR, by profile";
const FLAG: &str = "a flag of the load, which no object carries";

const ROWS: &[(&str, Row)] = &[
    ("00_min_ok", Ir(CHECK_14, "  v10: i16 = load u16 v1 + 12\n  return v3")),
    ("01_check_swapped", No("the orientation of a check is chosen behind the IR")),
    ("02_check_ge_plus1", No("the orientation of a check is chosen behind the IR")),
    (
        "03_len_compare_end_minus_data",
        Ir(
            PACKET,
            "  v10: i64 = ptr_sub v2, v1\n  v11: i64 = 14\n  if64 v10 < v11 then b1 else b2\nb1:\n  return v3\nb2:\n  \
             v12: i16 = load u16 v1 + 12\n  return v3",
        ),
    ),
    ("04_pkt_spilled_before_check", No(ALLOCATOR)),
    ("10_ihl_masked_ok", Ir(CHECK_34, ADVANCE_OK)),
    (
        "11_ihl_recomputed_ptr",
        Ir(
            CHECK_34,
            "  v10: i8 = load u8 v1 + 14\n  v11: i8 = 15\n  v12: i8 = and32 v10, v11\n  v13: i8 = 2\n  \
             v14: i8 = lsh32 v12, v13\n  v15: pkt = ptr_add v1, v14\n  check v15 + 34 <= v2 then b3 else b1\nb3:\n  \
             v16: pkt = ptr_add v1, v14\n  v17: i16 = load u16 v16 + 14\n  return v3",
        ),
    ),
    ("12_scalar_plus_pkt_order", Ir(CHECK_34, ADVANCE_OK)),
    (
        "13_off_u16_unmasked",
        Ir(
            CHECK_34,
            "  v10: i16 = load u16 v1 + 16\n  v15: pkt = ptr_add v1, v10\n  check v15 + 20 <= v2 then b3 else b1\nb3:\n  \
             v16: i16 = load u16 v15 + 0\n  return v3",
        ),
    ),
    (
        "14_off_u16_masked_0x7fff",
        Ir(
            CHECK_34,
            "  v10: i16 = load u16 v1 + 16\n  v11: i16 = 32767\n  v12: i16 = and64 v10, v11\n  v15: pkt = ptr_add v1, v12\n  \
             check v15 + 20 <= v2 then b3 else b1\nb3:\n  v16: i16 = load u16 v15 + 0\n  return v3",
        ),
    ),
    (
        "15_off_be16_unmasked",
        Ir(
            CHECK_34,
            "  v10: i8 = load u8 v1 + 16\n  v11: i16 = swap16 v10\n  v12: i8 = 8\n  v13: i8 = rsh64 v11, v12\n  \
             v15: pkt = ptr_add v1, v13\n  check v15 + 20 <= v2 then b3 else b1\nb3:\n  v16: i16 = load u16 v15 + 0\n  \
             return v3",
        ),
    ),
    (
        "16_off_be16_then_mask",
        Ir(
            CHECK_34,
            "  v10: i16 = load u16 v1 + 16\n  v11: i16 = swap16 v10\n  v12: i16 = 2047\n  v13: i16 = and64 v11, v12\n  \
             v15: pkt = ptr_add v1, v13\n  check v15 + 20 <= v2 then b3 else b1\nb3:\n  v16: i16 = load u16 v15 + 0\n  \
             return v3",
        ),
    ),
    ("20_idx_masked", Index("  v10: i32 = 31\n  v11: i32 = and64 v4, v10\n", "v11")),
    ("21_idx_cmp_const", Index("  v10: i32 = 31\n  if64 v4 > v10 then b1 else b3\nb3:\n", "v4")),
    (
        "22_idx_copy_then_check",
        Index("  v9: i64 = copy v4\n  v10: i32 = 31\n  if64 v9 > v10 then b1 else b3\nb3:\n", "v4"),
    ),
    (
        "23_idx_copy_check_orig_use_copy",
        Index("  v9: i64 = copy v4\n  v10: i32 = 31\n  if64 v4 > v10 then b1 else b3\nb3:\n", "v9"),
    ),
    (
        "24_idx_range_fold_sub",
        Index(
            "  v9: i64 = 4\n  v10: i64 = sub64 v4, v9\n  v11: i64 = 8\n  if64 v10 > v11 then b1 else b3\nb3:\n",
            "v4",
        ),
    ),
    (
        "25_idx_reg_reg_bound",
        Index("  v9: i8 = 31\n  v10: i8 = and64 v5, v9\n  if64 v4 >= v10 then b1 else b3\nb3:\n", "v4"),
    ),
    ("26_idx_spill8_bounded", No(ALLOCATOR)),
    ("27_idx_spill4_bounded", No(ALLOCATOR)),
    ("28_idx_spill8_then_check_reg", No(ALLOCATOR)),
    (
        "29_idx_stimm_const",
        Index("  v9: *s0 = stack s0\n  v10: i64 = 5\n  store u64 v9 + 0, v10\n  v11: i64 = copy v10\n", "v11"),
    ),
    ("2a_idx_stx_const", No(ENCODING)),
    ("2b_idx_mod_const", Index("  v9: i32 = 31\n  v10: i32 = mod64 v4, v9\n", "v10")),
    (
        "2c_idx_mod_then_check",
        Index(
            "  v9: i32 = 31\n  v10: i32 = mod64 v4, v9\n  v11: i32 = 30\n  if64 v10 > v11 then b1 else b3\nb3:\n",
            "v10",
        ),
    ),
    ("2d_idx_div_const", Index("  v9: i8 = 9\n  v10: i8 = div64 v5, v9\n", "v10")),
    ("2e_idx_jmp32_check", Index("  v10: i32 = 31\n  if32 v4 > v10 then b1 else b3\nb3:\n", "v4")),
    ("2f_idx_jmp32_check_u64src", Index("  v10: i32 = 31\n  if32 v6 > v10 then b1 else b3\nb3:\n", "v6")),
    (
        "2g_idx_jmp32_u64src_wmov",
        Index("  v9: i32 = low32 v6\n  v10: i32 = 31\n  if32 v9 > v10 then b1 else b3\nb3:\n", "v9"),
    ),
    ("2h_idx_signed_check_only", Index("  v10: i32 = 31\n  if64 v4 s> v10 then b1 else b3\nb3:\n", "v4")),
    ("2i_idx_s64_signed_check_only", Index("  v10: i32 = 31\n  if64 v6 s> v10 then b1 else b3\nb3:\n", "v6")),
    (
        "2j_idx_neg",
        Index(
            "  v9: i8 = 7\n  v10: i8 = and64 v5, v9\n  v11: i64 = 0\n  v12: i64 = sub64 v11, v10\n  v13: i64 = add64 v12, v9\n",
            "v13",
        ),
    ),
    (
        "2k_idx_mul",
        Index("  v9: i32 = 7\n  v10: i32 = and64 v4, v9\n  v11: i32 = 8\n  v12: i32 = mul64 v10, v11\n", "v12"),
    ),
    ("2l_idx_jeq_refine", Index("  v10: i32 = 5\n  if64 v4 != v10 then b1 else b3\nb3:\n", "v4")),
    (
        "2m_idx_check_after_ptr_add",
        Ir(
            INDEX,
            "  v10: *g0 = ptr_add v8, v4\n  v11: i32 = 31\n  if64 v4 > v11 then b1 else b3\nb3:\n  \
             v12: i8 = load u8 v10 + 0\n  return v3",
        ),
    ),
    ("2n_idx_w_alu", Index("  v10: i32 = 31\n  v11: i32 = and32 v4, v10\n", "v11")),
    ("2o_idx_jset_check", Index("  v10: i64 = 0xffffffffffffffe0\n  if64 v4 & v10 then b1 else b3\nb3:\n", "v4")),
    (
        "30_stack_uninit_key",
        Ir(
            BARE,
            "  v10: *s1 = stack s1\n  v11: *m0 = map m0\n  v12: ?value(m0) = call map_lookup_elem(v11, v10)\n  return v3",
        ),
    ),
    ("31_stack_misaligned", Ir(BARE, "  v10: *s2 = stack s2\n  store u32 v10 + 2, v3\n  return v3")),
    ("32_pkt_misaligned_u32", Ir(CHECK_34, "  v10: i32 = load u32 v1 + 13\n  return v3")),
    (
        "33_null_check_on_copy",
        Ir(
            LOOKUP,
            "  if64 v7 == v8 then b1 else b3\nb3:\n  v9: *value(m0) = non_null v7\n  v10: i64 = load u64 v9 + 0\n  return v3",
        ),
    ),
    ("34_null_check_spilled", No(ALLOCATOR)),
    (
        "35_or_null_arith_before_check",
        Stricter(
            "nothing is ever added to a pointer that may be null: only the newest kernel takes it",
            LOOKUP,
            "  v9: ?value(m0) = ptr_add v7, v8\n  return v3",
        ),
    ),
    (
        "36_lookup_const_key_no_null_check",
        Ir(
            BARE,
            "  v4: *s1 = stack s1\n  v5: i32 = 0\n  store u32 v4 + 0, v5\n  v6: *m0 = map m0\n  \
             v7: *value(m0) = call map_lookup_elem(v6, v4)\n  v9: i64 = load u64 v7 + 0\n  return v3",
        ),
    ),
    (
        "37_key_in_packet",
        Ir(
            CHECK_34,
            "  v4: i64 = 26\n  v5: pkt = ptr_add v1, v4\n  v6: *m1 = map m1\n  v7: ?value(m1) = call map_lookup_elem(v6, v5)\n  \
             v8: i64 = 0\n  if64 v7 == v8 then b1 else b3\nb3:\n  v9: *value(m1) = non_null v7\n  \
             v10: i64 = load u64 v9 + 0\n  return v3",
        ),
    ),
    (
        "38_stale_pkt_after_adjust_head",
        Ir(
            CHECK_34,
            "  v4: i32 = 20\n  v5: i64 = call xdp_adjust_head(v0, v4)\n  v6: i16 = load u16 v1 + 12\n  return v3",
        ),
    ),
    (
        "39_pkt_survives_map_lookup",
        Ir(
            CHECK_34,
            "  v4: i64 = 26\n  v5: pkt = ptr_add v1, v4\n  v6: *m1 = map m1\n  v7: ?value(m1) = call map_lookup_elem(v6, v5)\n  \
             v8: i16 = load u16 v1 + 12\n  return v3",
        ),
    ),
    (
        "40_ctx_add_then_load",
        Ir(BARE, "  v4: i64 = 4\n  v5: ctx = ptr_add v0, v4\n  v6: i32 = load u32 v5 + 0\n  return v3"),
    ),
    ("41_ctx_u64_load", Ir(BARE, "  v4: i64 = load u64 v0 + 0\n  return v3")),
    ("42_ctx_stimm_skb_mark", No(ENCODING)),
    ("43_ctx_stx_skb_mark", Ir("tc", "  v4: i32 = 7\n  store u32 v0 + 8, v4\n  return v3")),
    ("44_ctx_spill_fill", No(ALLOCATOR)),
    ("45_ctx_narrow_u8_load_len", Ir("tc", "  v4: i8 = load u8 v0 + 0\n  return v3")),
    ("46_ctx_w_mov_ptr", Ir(BARE, "  v4: i32 = low32 v0\n  return v3")),
    (
        "47_ctx_merge_two_offsets",
        Ir(
            "tc",
            "  v4: i32 = load u32 v0 + 0\n  v5: i32 = 100\n  v6: i64 = 4\n  if64 v4 > v5 then b2(v0) else b1\nb1:\n  \
             v7: ctx = ptr_add v0, v6\n  jump b2(v7)\nb2(v8: ctx):\n  v9: i32 = load u32 v8 + 0\n  return v3",
        ),
    ),
    ("50_unreachable", Ir(BARE, "  return v3\nb1:\n  return v3")),
    ("51_loop_bounded", Ir(BARE, LOOP)),
    (
        "52_loop_pkt_bytes_64",
        Ir(
            PACKET,
            "  v4: i64 = 0\n  v5: i64 = 1\n  v6: i64 = 64\n  jump b2(v1, v4)\nb1:\n  return v3\nb2(v7: pkt, v8: i64):\n  \
             check v7 + 1 <= v2 then b3 else b1\nb3:\n  v9: i8 = load u8 v7 + 0\n  v10: pkt = ptr_add v7, v5\n  \
             v11: i64 = add64 v8, v5\n  if64 v11 < v6 then b2(v10, v11) else b1",
        ),
    ),
    (
        "53_loop_ne_exit",
        Ir(
            BARE,
            "  v4: i64 = 0\n  v5: i64 = 1\n  v6: i64 = 64\n  jump b2(v4)\nb1:\n  return v3\nb2(v7: i64):\n  \
             v8: i64 = add64 v7, v5\n  if64 v8 != v6 then b2(v8) else b1",
        ),
    ),
    (
        "54_loop_var_bound_capped",
        Ir(
            CHECK_34,
            "  v4: i8 = load u8 v1 + 14\n  v5: i8 = 63\n  v6: i8 = and64 v4, v5\n  v7: i64 = 0\n  v8: i64 = 1\n  v9: i64 = 64\n  \
             jump b3(v7)\nb3(v10: i64):\n  if64 v10 >= v6 then b1 else b4\nb4:\n  v11: i64 = add64 v10, v8\n  \
             if64 v11 < v9 then b3(v11) else b1",
        ),
    ),
    (
        "55_loop_unbounded_counter_map",
        Ir(
            BARE,
            "  v4: *g0 = global g0 + 0\n  v5: i64 = 1\n  v6: i64 = 64\n  jump b2\nb1:\n  return v3\nb2:\n  \
             v7: i64 = load u64 v4 + 0\n  v8: i64 = add64 v7, v5\n  store u64 v4 + 0, v8\n  if64 v8 < v6 then b2 else b1",
        ),
    ),
    ("56_may_goto", No("there is no such loop in IR: counters are values")),
    ("57_bpf_loop", No("the row has lost its callback's address")),
    ("58_bpf2bpf", Ir(BARE, "  v4: i64 = 5\n  v5: i64 = call @other(v4)\n  return v3")),
    ("59_callee_saved_clobber", No("values have no registers, and live across calls")),
    (
        "60_xadd",
        Ir(
            BARE,
            "  v4: *s0 = stack s0\n  v5: i64 = 1\n  store u64 v4 + 0, v5\n  atomic add u64 v4 + 0, v5\n  return v3",
        ),
    ),
    (
        "61_fetch_add",
        Ir(
            BARE,
            "  v4: *s0 = stack s0\n  v5: i64 = 1\n  store u64 v4 + 0, v5\n  v6: i64 = atomic fetch_add u64 v4 + 0, v5\n  return v3",
        ),
    ),
    (
        "62_cmpxchg",
        Ir(
            BARE,
            "  v4: *s0 = stack s0\n  v5: i64 = 1\n  store u64 v4 + 0, v5\n  v6: i64 = atomic cmpxchg u64 v4 + 0, v5, v5\n  return v3",
        ),
    ),
    ("63_sdiv", No("signed division is said otherwise where the kernel lacks it")),
    ("64_movsx", No("signs are extended otherwise where the kernel lacks it")),
    ("65_ldsx", No("there is no such read in IR: it is two operations")),
    ("66_bswap", No("bytes are swapped otherwise where the kernel lacks it")),
    ("67_gotol", No(ENCODING)),
    ("32s_pkt_misaligned_u32_strict", No(FLAG)),
    ("32t_ip_saddr_u32_strict", No(FLAG)),
    ("32u_mapval_misaligned_strict", No(FLAG)),
    ("32v_mapval_misaligned", Ir(INDEX, "  v9: i32 = load u32 v8 + 6\n  return v3")),
    (
        "3a_csum_diff_var_len",
        Ir(
            CHECK_34,
            "  v4: i8 = load u8 v1 + 17\n  v5: i8 = 252\n  v6: i8 = and64 v4, v5\n  v7: i64 = 34\n  v8: pkt = ptr_add v1, v7\n  \
             v9: pkt = ptr_add v8, v6\n  check v9 + 0 <= v2 then b3 else b1\nb3:\n  v10: i64 = 0\n  \
             v11: i64 = call csum_diff(v10, v10, v8, v6, v10)\n  return v3",
        ),
    ),
    (
        "3b_csum_diff_const_len",
        Ir(
            PACKET,
            "  check v1 + 54 <= v2 then b2 else b1\nb1:\n  return v3\nb2:\n  v7: i64 = 14\n  v8: pkt = ptr_add v1, v7\n  \
             v9: i64 = 20\n  v10: i64 = 0\n  v11: i64 = call csum_diff(v10, v10, v8, v9, v10)\n  return v3",
        ),
    ),
    ("3c_null_pass_in_merged_phi", No("there is no packet pointer that may be null")),
    ("3d_spill_pkt_end", No(ALLOCATOR)),
    (
        "3e_reload_data_after_check",
        Ir(CHECK_14, "  v10: pkt = load u32 v0 + 0\n  v11: i16 = load u16 v10 + 12\n  return v3"),
    ),
    (
        "3f_pkt_ptr_select",
        Ir(
            CHECK_34,
            "  v4: i8 = load u8 v1 + 14\n  v5: i8 = 69\n  v6: i64 = 4\n  if64 v4 == v5 then b4(v1) else b3\nb3:\n  \
             v7: pkt = ptr_add v1, v6\n  jump b4(v7)\nb4(v8: pkt):\n  check v8 + 40 <= v2 then b5 else b1\nb5:\n  \
             v9: i16 = load u16 v8 + 36\n  return v3",
        ),
    ),
    (
        "3g_scalar_off_select",
        Ir(
            CHECK_34,
            "  v4: i8 = load u8 v1 + 14\n  v5: i8 = 69\n  v6: i64 = 14\n  v7: i64 = 18\n  \
             if64 v4 == v5 then b3(v6) else b3(v7)\nb3(v8: i64):\n  v9: pkt = ptr_add v1, v8\n  \
             check v9 + 20 <= v2 then b4 else b1\nb4:\n  v10: i16 = load u16 v9 + 18\n  return v3",
        ),
    ),
    ("68_load_acquire", No("no road to it: the IR's atomic operation has a value to store")),
    (
        "69_store_release",
        Ir(BARE, "  v4: *s0 = stack s0\n  v5: i64 = 1\n  atomic store_release u64 v4 + 0, v5\n  return v3"),
    ),
    ("6a_atomic_on_pkt", Ir(CHECK_34, "  v4: i32 = 1\n  atomic add u32 v1 + 16, v4\n  return v3")),
    ("6b_jmp32", Ir(BARE, "  v4: i32 = 1\n  if32 v4 == v3 then b1 else b1\nb1:\n  return v3")),
    ("6c_jmp32_ptr_cmp", Ir(BARE, "  v4: i64 = 0\n  if32 v0 == v4 then b1 else b1\nb1:\n  return v3")),
    ("6d_st_imm_stack", Ir(BARE, "  v4: *s0 = stack s0\n  v5: i64 = 5\n  store u64 v4 + 0, v5\n  return v3")),
    ("70_stack_512", Ir("512", "  v4: *s0 = stack s0\n  v5: i64 = 0\n  store u64 v4 + 0, v5\n  return v3")),
    ("71_stack_520", Ir("520", "  v4: *s0 = stack s0\n  v5: i64 = 0\n  store u64 v4 + 0, v5\n  return v3")),
    (
        "72_dead_branch_bad_code",
        Stricter(
            "nothing is read through a number, not even where no way leads",
            BARE,
            "  v4: i64 = 0\n  if64 v4 == v4 then b1 else b2\nb1:\n  return v3\nb2:\n  v5: i64 = load u64 v4 + 0\n  return v3",
        ),
    ),
    (
        "73_ro_const_branch_rodata_like",
        Ir(
            PACKET,
            "  v4: *g0 = global g0 + 0\n  v5: i32 = load u32 v4 + 0\n  v6: i64 = 0\n  if64 v5 == v6 then b1 else b2\nb1:\n  \
             return v3\nb2:\n  v7: i16 = load u16 v1 + 12\n  return v3",
        ),
    ),
];

const ADVANCE_OK: &str = "  v10: i8 = load u8 v1 + 14\n  v11: i8 = 15\n  v12: i8 = and32 v10, v11\n  v13: i8 = 2\n  \
                          v14: i8 = lsh32 v12, v13\n  v15: pkt = ptr_add v1, v14\n  check v15 + 34 <= v2 then b3 else b1\nb3:\n  \
                          v16: i16 = load u16 v15 + 14\n  return v3";
const LOOP: &str = "  v4: i64 = 0\n  v5: i64 = 1\n  v6: i64 = 64\n  jump b2(v4)\nb1:\n  return v3\nb2(v7: i64):\n  \
                    v8: i64 = add64 v7, v5\n  if64 v8 < v6 then b2(v8) else b1";

fn text(row: &Row) -> Option<String> {
    let (start, body) = match row {
        Ir(start, body) | Stricter(_, start, body) => (*start, (*body).to_owned()),
        Index(body, index) => {
            (INDEX, format!("{body}  v90: *g0 = ptr_add v8, {index}\n  v91: i8 = load u8 v90 + 0\n  return v3"))
        }
        No(_) => return None,
    };
    Some(match start {
        "tc" => format!("prog \"tc\" p(ctx: ctx) -> i32 {{\n{START}{body}\n}}"),
        "512" | "520" => {
            let start = START.replacen("stack 8", &format!("stack {start}"), 1);
            format!("prog \"xdp\" p(ctx: ctx) -> i32 {{\n{start}{body}\n}}")
        }
        _ => format!("prog \"xdp\" p(ctx: ctx) -> i32 {{\n{START}{start}{body}\n}}"),
    })
}

/// What is said of a program, without any pass that might mend it.
fn verdict(func: &Func, profile: Profile) -> Result<(), Error> {
    compile_func(func, &[], &Profile { passes: false, ..profile }).map(drop)
}

const KERNELS: [(&str, Profile); 4] = [
    ("5.10", Profile::linux_5_10()),
    ("6.1", Profile::linux_6_1()),
    ("6.12", Profile::linux_6_12()),
    ("6.18", Profile::newest()),
];

#[test]
fn every_row_is_read_and_judged() {
    for (name, row) in ROWS {
        let Some(text) = text(row) else { continue };
        let func = Func::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        for (kernel, profile) in KERNELS {
            let verdict = verdict(&func, profile);
            let internal = matches!(verdict, Err(Error::Internal { .. }));
            assert!(!internal, "{name}, {kernel}: {}\n{text}", verdict.unwrap_err());
            let refused = matches!(row, Stricter(..));
            assert!(!refused || verdict.is_err(), "{name}, {kernel}: it is accepted\n{text}");
        }
    }
}

#[test]
fn the_checker_says_what_the_kernels_said() {
    let Some(path) = std::env::var_os("VERIFIER_MATRIX") else {
        return eprintln!("VERIFIER_MATRIX is not set: nothing to compare with");
    };
    let file = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (mut same, mut not, mut wrong) = (0, 0, String::new());
    for line in file.lines().filter(|line| !line.is_empty()) {
        let measured: Value = serde_json::from_str(line).expect("a JSON object");
        let name = measured["name"].as_str().expect("each row has a name");
        let Some((_, row)) = ROWS.iter().find(|(row, _)| *row == name) else {
            wrong += &format!("{name}: it is not in the table\n");
            continue;
        };
        if let No(why) | Stricter(why, ..) = row {
            println!("{name}: {why}");
            not += 1;
            continue;
        }
        let text = text(row).expect("it has a text");
        let func = Func::parse(&text).expect("as above");
        for (kernel, profile) in KERNELS {
            let (got, want) = (verdict(&func, profile), measured["kernels"][kernel]["verdict"] == "accept");
            if got.is_ok() != want {
                let said = got.map_or_else(|error| error.to_string(), |()| "accepted".to_owned());
                wrong += &format!("{name}, {kernel}: {said}; the kernel: {}\n", measured["kernels"][kernel]);
            }
        }
        same += 1;
    }
    println!("{same} rows get the kernels' answers, {not} cannot be said or are refused on purpose");
    assert!(wrong.is_empty(), "\n{wrong}");
    assert_eq!(same + not, ROWS.len(), "the file has each row once");
}
