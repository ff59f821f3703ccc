//! Stage: system calls, `BPF_OBJ_GET_INFO_BY_FD`. Input: a descriptor. Output: what the kernel knows about the object.
//! Read next: `mmap.rs`.

use std::mem::offset_of;
use std::os::fd::BorrowedFd;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::uapi::{OBJ_NAME_LEN, TAG_SIZE};
use super::{Result, addr_mut, bpf, commands, fd_u32, len_u32, zeroed};

/// `BPF_OBJ_GET_INFO_BY_FD`.
#[derive(Debug, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}
const _: () = assert!(size_of::<InfoAttr>() == 16);
commands! { ObjGetInfoByFd(InfoAttr) = OBJ_GET_INFO_BY_FD; }

/// `struct bpf_prog_info`, up to and including `attach_btf_id` (Linux 5.19). Fields a kernel does not know stay zero.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields carry the kernel's own names; see <linux/bpf.h>")]
pub struct ProgInfo {
    pub prog_type: u32,
    pub id: u32,
    pub tag: [u8; TAG_SIZE],
    pub jited_prog_len: u32,
    pub xlated_prog_len: u32,
    jited_prog_insns: u64,
    xlated_prog_insns: u64,
    pub load_time: u64,
    pub created_by_uid: u32,
    pub nr_map_ids: u32,
    map_ids: u64,
    pub name: [u8; OBJ_NAME_LEN],
    pub ifindex: u32,
    pub gpl_compatible: u32,
    pub netns_dev: u64,
    pub netns_ino: u64,
    pub nr_jited_ksyms: u32,
    pub nr_jited_func_lens: u32,
    jited_ksyms: u64,
    jited_func_lens: u64,
    pub btf_id: u32,
    pub func_info_rec_size: u32,
    func_info: u64,
    pub nr_func_info: u32,
    pub nr_line_info: u32,
    line_info: u64,
    jited_line_info: u64,
    pub nr_jited_line_info: u32,
    pub line_info_rec_size: u32,
    pub jited_line_info_rec_size: u32,
    pub nr_prog_tags: u32,
    prog_tags: u64,
    pub run_time_ns: u64,
    pub run_cnt: u64,
    pub recursion_misses: u64,
    pub verified_insns: u32,
    pub attach_btf_obj_id: u32,
    pub attach_btf_id: u32,
    reserved: u32,
}
const _: () = assert!(size_of::<ProgInfo>() == 232);
const _: () = assert!(offset_of!(ProgInfo, name) == 64);
const _: () = assert!(offset_of!(ProgInfo, run_cnt) == 200);

/// `struct bpf_map_info`, up to and including `map_extra` (Linux 5.16).
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields carry the kernel's own names; see <linux/bpf.h>")]
pub struct MapInfo {
    pub map_type: u32,
    pub id: u32,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub map_flags: u32,
    pub name: [u8; OBJ_NAME_LEN],
    pub ifindex: u32,
    pub btf_vmlinux_value_type_id: u32,
    pub netns_dev: u64,
    pub netns_ino: u64,
    pub btf_id: u32,
    pub btf_key_type_id: u32,
    pub btf_value_type_id: u32,
    pub btf_vmlinux_id: u32,
    pub map_extra: u64,
}
const _: () = assert!(size_of::<MapInfo>() == 88);
const _: () = assert!(offset_of!(MapInfo, map_extra) == 80);

/// `struct bpf_btf_info` (Linux 4.18; name and `kernel_btf` 5.11).
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields carry the kernel's own names; see <linux/bpf.h>")]
pub struct BtfInfo {
    btf: u64,
    pub btf_size: u32,
    pub id: u32,
    name: u64,
    pub name_len: u32,
    pub kernel_btf: u32,
}
const _: () = assert!(size_of::<BtfInfo>() == 32);

/// `struct bpf_link_info`; what follows the common part depends on `link_type`.
#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LinkInfo {
    /// `enum bpf_link_type`.
    pub link_type: u32,
    /// The link's id.
    pub id: u32,
    /// The program attached.
    pub prog_id: u32,
    reserved: u32,
    /// The part of the type, as 32-bit words: XDP, TCX and netkit have the ifindex first.
    pub words: [u32; 12],
}
const _: () = assert!(size_of::<LinkInfo>() == 64);
const _: () = assert!(offset_of!(LinkInfo, words) == 16);

/// Fills `info` from the kernel.
///
/// # Safety
///
/// Each field of `T` that the kernel takes as an address is zero, or points to memory that it may write as much to as
/// the count field beside it says.
unsafe fn get<T: FromBytes + IntoBytes>(fd: BorrowedFd<'_>, info: &mut T) -> Result<()> {
    let bytes = info.as_mut_bytes();
    let mut attr = InfoAttr { bpf_fd: fd_u32(fd), info_len: len_u32(bytes)?, info: addr_mut(bytes) };
    // SAFETY: `info` and its length are one live struct which may hold any bytes (`FromBytes`); what it points to is
    // the caller's duty.
    unsafe { bpf::<ObjGetInfoByFd>(&mut attr) }.map(drop)
}

/// What the kernel knows of a program.
///
/// # Errors
///
/// `EINVAL` if it is none.
pub fn prog(fd: BorrowedFd<'_>) -> Result<ProgInfo> {
    let mut info: ProgInfo = zeroed();
    // SAFETY: all addresses are zero.
    unsafe { get(fd, &mut info) }?;
    Ok(info)
}

/// What the kernel knows of a map.
///
/// # Errors
///
/// `EINVAL` if it is no BPF object.
pub fn map(fd: BorrowedFd<'_>) -> Result<MapInfo> {
    let mut info: MapInfo = zeroed();
    // SAFETY: the struct holds no address.
    unsafe { get(fd, &mut info) }?;
    Ok(info)
}

/// What the kernel knows of a link (Linux 5.8).
///
/// # Errors
///
/// `EINVAL` if it is none.
pub fn link(fd: BorrowedFd<'_>) -> Result<LinkInfo> {
    let mut info: LinkInfo = zeroed();
    // SAFETY: all words are zero, so the addresses that some link types have among them are too.
    unsafe { get(fd, &mut info) }?;
    Ok(info)
}

/// What the kernel knows of a BTF object, without its bytes.
///
/// # Errors
///
/// `EINVAL` if it is none.
pub fn btf(fd: BorrowedFd<'_>) -> Result<BtfInfo> {
    let mut info: BtfInfo = zeroed();
    // SAFETY: both addresses are zero, so the kernel writes the sizes only.
    unsafe { get(fd, &mut info) }?;
    Ok(info)
}

/// The bytes of a BTF object.
///
/// # Errors
///
/// As [`btf`].
pub fn btf_bytes(fd: BorrowedFd<'_>) -> Result<Vec<u8>> {
    let mut bytes = vec![0; btf(fd)?.btf_size as usize];
    let mut info: BtfInfo = zeroed();
    (info.btf_size, info.btf) = (len_u32(&bytes)?, addr_mut(&mut bytes));
    // SAFETY: the kernel writes at most `btf_size` bytes, the length of `bytes`; the other address is zero.
    unsafe { get(fd, &mut info) }?;
    bytes.truncate(info.btf_size as usize);
    Ok(bytes)
}

/// The name of a BTF object of the kernel's own: `vmlinux` or a module (Linux 5.11); empty for others.
///
/// # Errors
///
/// As [`btf`].
pub fn btf_name(fd: BorrowedFd<'_>) -> Result<String> {
    let mut name = [0; 64];
    let mut info: BtfInfo = zeroed();
    (info.name_len, info.name) = (len_u32(&name)?, addr_mut(&mut name));
    // SAFETY: the kernel writes at most `name_len` bytes, the length of `name`; the other address is zero.
    unsafe { get(fd, &mut info) }?;
    Ok(super::name_text(&name))
}

/// The ids of the maps a program uses.
///
/// # Errors
///
/// As [`prog`].
pub fn prog_map_ids(fd: BorrowedFd<'_>) -> Result<Vec<u32>> {
    let mut ids = vec![0_u32; prog(fd)?.nr_map_ids as usize];
    let mut info: ProgInfo = zeroed();
    (info.nr_map_ids, info.map_ids) = (len_u32(&ids)?, addr_mut(ids.as_mut_bytes()));
    // SAFETY: the kernel writes at most `nr_map_ids` ids of 4 bytes, the length of `ids`; other addresses are zero.
    unsafe { get(fd, &mut info) }?;
    ids.truncate(info.nr_map_ids as usize);
    Ok(ids)
}

/// The instructions as they run after verification and rewriting; empty where the kernel does not show them.
///
/// # Errors
///
/// As [`prog`].
pub fn prog_xlated(fd: BorrowedFd<'_>) -> Result<Vec<u8>> {
    let mut insns = vec![0; prog(fd)?.xlated_prog_len as usize];
    let mut info: ProgInfo = zeroed();
    (info.xlated_prog_len, info.xlated_prog_insns) = (len_u32(&insns)?, addr_mut(&mut insns));
    // SAFETY: the kernel writes at most `xlated_prog_len` bytes, the length of `insns`; other addresses are zero.
    unsafe { get(fd, &mut info) }?;
    // The kernel clears the address to say that it showed nothing (kernel.kptr_restrict and the like).
    if info.xlated_prog_insns == 0 {
        insns.clear();
    }
    Ok(insns)
}

/// The machine code; empty without JIT or where the kernel does not show it.
///
/// # Errors
///
/// As [`prog`].
pub fn prog_jited(fd: BorrowedFd<'_>) -> Result<Vec<u8>> {
    let mut code = vec![0; prog(fd)?.jited_prog_len as usize];
    let mut info: ProgInfo = zeroed();
    (info.jited_prog_len, info.jited_prog_insns) = (len_u32(&code)?, addr_mut(&mut code));
    // SAFETY: the kernel writes at most `jited_prog_len` bytes, the length of `code`; other addresses are zero.
    unsafe { get(fd, &mut info) }?;
    if info.jited_prog_insns == 0 {
        code.clear();
    }
    Ok(code)
}

/// Bytes of a `struct bpf_line_info`.
const LINE_INFO: u32 = 16;

/// The line records as they fit [`prog_xlated`], [`asm::btf::wire::LineInfo`] each; empty for a program without (Linux 5.0).
///
/// # Errors
///
/// As [`prog`].
pub fn prog_line_info(fd: BorrowedFd<'_>) -> Result<Vec<u8>> {
    let mut records = vec![0; (prog(fd)?.nr_line_info * LINE_INFO) as usize];
    let mut info: ProgInfo = zeroed();
    (info.line_info_rec_size, info.nr_line_info) = (LINE_INFO, len_u32(&records)? / LINE_INFO);
    info.line_info = addr_mut(&mut records);
    // SAFETY: the kernel writes at most `nr_line_info` records of `line_info_rec_size` bytes, the length of `records`; other addresses are
    // zero.
    unsafe { get(fd, &mut info) }?;
    records.truncate((info.nr_line_info * LINE_INFO) as usize);
    Ok(records)
}
