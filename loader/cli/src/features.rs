//! `loader features`: what this kernel, and the driver of an interface, can do.
//!
//! Input: [`Args`]. Output: tables; all of it in JSON. Read next: `loader::features::survey`, `loader::features::iface`.

use std::fmt::Write;

use anyhow::{Context, Result, anyhow};
use asm::object::ProgType;
use loader::features::iface::{self, Interface};
use loader::features::survey::{Known, Survey};
use serde::Serialize;

use crate::render::{Out, table};

/// What `loader features` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the driver of this interface can do, in place of the kernel
    #[arg(long, value_name = "IF", conflicts_with = "type")]
    iface: Option<String>,

    /// Only this program type, such as xdp, and the helpers that it may call
    #[arg(long, value_name = "TYPE", value_parser = prog_type)]
    r#type: Option<ProgType>,
}

/// A program type by its name.
fn prog_type(name: &str) -> Result<ProgType> {
    ProgType::from_name(name).filter(|found| *found != ProgType::UNSPEC).ok_or_else(|| {
        let names: Vec<_> = ProgType::ALL.iter().skip(1).filter_map(|known| known.name()).collect();
        anyhow!("the program types are {}", names.join(", "))
    })
}

/// What there is to show.
#[derive(Serialize)]
#[serde(untagged)]
enum Found {
    Kernel(Survey),
    Interface(Interface),
}

/// Runs the command.
pub(crate) fn run(args: Args, out: &mut Out) -> Result<()> {
    let found = match &args.iface {
        Some(name) => Found::Interface(iface::interface(name).with_context(|| format!("interface {name}"))?),
        None => Found::Kernel(
            Survey::take(args.r#type).map_err(|denied| anyhow!("{denied}")).context("the kernel was not asked")?,
        ),
    };
    out.result(&found, |found| match found {
        Found::Kernel(survey) => of_kernel(survey),
        Found::Interface(interface) => of_interface(interface),
    })
}

/// Yes, no, or not to be told.
fn word(here: Option<bool>) -> String {
    here.map_or("?", |here| if here { "yes" } else { "no" }).to_owned()
}

fn of_kernel(survey: &Survey) -> String {
    let Survey { release, jit, btf, btf_modules, .. } = survey;
    let types = if *btf { format!("yes, and of {btf_modules} modules") } else { "no".to_owned() };
    let mut text = format!("Linux {release}\n  JIT: {}; types of the kernel: {types}\n", word(*jit));
    let cells = |Known { name, here, since, .. }: &Known| [(*name).to_owned(), word(*here), (*since).to_owned()];
    let rows = survey.prog_types.iter().map(|row| {
        let [name, here, since] = cells(&row.known);
        [name, here, since, row.helpers.as_ref().map_or_else(String::new, |helpers| helpers.len().to_string())]
    });
    text += &table(["program type", "here", "since", "helpers"], rows);
    if let [row] = survey.prog_types.as_slice() {
        text += &wrapped(row.helpers.as_deref().unwrap_or_default());
        return text;
    }
    text += &table(["map type", "here", "since"], survey.map_types.iter().map(cells));
    let rows = survey.features.iter().map(|feature| {
        let [name, here, since] = cells(feature);
        [name, here, since, feature.what.to_owned()]
    });
    text += &table(["feature", "here", "since", "what"], rows);
    if let Some(links) = &survey.links {
        let _ = writeln!(text, "  links: {}", links.join(", "));
    }
    text
}

/// Names in lines of about a hundred characters.
fn wrapped(names: &[&str]) -> String {
    const WIDTH: usize = 96;
    let mut text = String::new();
    let mut width = WIDTH;
    for name in names {
        if width + name.len() > WIDTH {
            text += if text.is_empty() { "  " } else { "\n  " };
            width = 0;
        }
        let _ = write!(text, "{name} ");
        width += name.len() + 1;
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

fn of_interface(interface: &Interface) -> String {
    let Interface { name, ifindex, kind, driver, mtu, .. } = interface;
    let what = driver.as_ref().map(|driver| format!("driver {driver}")).or_else(|| kind.clone());
    let mut text =
        format!("{name}: ifindex {ifindex}, {}, MTU {mtu}\n", what.unwrap_or_else(|| "no driver named".to_owned()));
    let rows = interface.modes.iter().map(|row| {
        [row.mode.clone(), word(row.can), row.prog_id.map_or_else(String::new, |id| format!("program {id}"))]
    });
    text += &table(["xdp mode", "can", "attached"], rows);
    match &interface.xdp_features {
        Some(features) if features.is_empty() => text += "  the driver has no XDP of its own\n",
        Some(features) => {
            let _ = writeln!(text, "  XDP in the driver: {}", features.join(", ").to_lowercase());
        }
        None => {
            text += "  what the driver can do with XDP this kernel does not tell (Linux 6.3): `loader up` tries it\n"
        }
    }
    if let Some(segs) = interface.zero_copy_max_segs.filter(|segs| *segs > 0) {
        let _ = writeln!(text, "  AF_XDP without copying: packets of up to {segs} fragments");
    }
    let rows =
        interface.channels.iter().flatten().map(|row| [row.kind.to_owned(), row.now.to_string(), row.max.to_string()]);
    text += &table(["channels", "now", "at most"], rows);
    let rows = interface.offloads.iter().flatten().map(|row| {
        let on = if row.on { "on" } else { "off" };
        [row.name.to_owned(), on.to_owned(), if row.changeable { "yes" } else { "no" }.to_owned()]
    });
    text + &table(["offload", "is", "changeable"], rows)
}
