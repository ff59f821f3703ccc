//! The commands about kernels as such: `resolve`, `fetch`, `list`.
//!
//! In: `kernels.toml` and `kernels.lock`. Out: a newer lock, a warm cache, a list. Next to read: `fetch.rs`, then
//! `matrix.rs`, which boots them.

use anyhow::Result;

use crate::arch::Arch;
use crate::cache::Cache;
use crate::config::{self, Choice, Locked, Wanted};
use crate::crew;
use crate::fetch::{Fetcher, Obtained};
use crate::image::Image;
use crate::repo::Repo;

/// Kernels as asked for, with what the lock says of each.
///
/// # Errors
/// One of the files cannot be read, or a name is unknown.
pub fn chosen(repo: &Repo, arch: Arch, names: Option<&str>) -> Result<Vec<Choice>> {
    let wanted = config::wanted(&repo.path("qemu-ci/kernels.toml"))?;
    choose(&wanted, &config::locked(&repo.path("qemu-ci/kernels.lock"))?, arch, names)
}

/// Kernels of a PC as asked for, by the two files as they were when this was built: for programs that run without the
/// workspace.
///
/// # Errors
/// A name is unknown.
pub fn built_in(names: Option<&str>) -> Result<Vec<Choice>> {
    let wanted = config::parse_wanted(include_str!("../kernels.toml"))?;
    choose(&wanted, &config::parse_locked(include_str!("../kernels.lock"))?, Arch::default(), names)
}

/// Picks kernels and finds what the lock says of each.
fn choose(wanted: &[Wanted], locked: &[Locked], arch: Arch, names: Option<&str>) -> Result<Vec<Choice>> {
    let lock_of = |wanted: &Wanted| locked.iter().find(|kernel| wanted.is(kernel)).cloned();
    Ok(config::pick(wanted, arch, names)?.into_iter().map(|wanted| (wanted.clone(), lock_of(&wanted))).collect())
}

/// `cargo ci resolve`: writes the lock anew; kernels not asked for keep their entry. True when each was found.
///
/// # Errors
/// A file cannot be read or written.
pub fn resolve(repo: &Repo, arch: Arch, names: Option<&str>) -> Result<bool> {
    let names = names.unwrap_or("all");
    let all = config::wanted(&repo.path("qemu-ci/kernels.toml"))?;
    let picked = config::pick(&all, arch, Some(names))?;
    let old = config::locked(&repo.path("qemu-ci/kernels.lock"))?;
    let fetcher = Fetcher::new(Cache::of_user()?, false);
    let mut well = true;
    let mut lock = Vec::new();
    for wanted in &all {
        let before = old.iter().find(|kernel| wanted.is(kernel));
        if !picked.contains(wanted) {
            lock.extend(before.cloned());
            continue;
        }
        match fetcher.resolve(wanted) {
            Ok(kernel) => {
                let news = match before {
                    Some(before) if before.version == kernel.version => "as before".to_owned(),
                    Some(before) => format!("was {}", before.version),
                    None => "new".to_owned(),
                };
                println!(
                    "{:<6} {:<32} {:<20} {:<18} {news}",
                    wanted.name, kernel.release, kernel.version, kernel.suite
                );
                lock.push(kernel);
            }
            Err(error) => {
                well &= !wanted.required;
                println!("{:<6} UNAVAILABLE: {error:#}", wanted.name);
                lock.extend(before.cloned());
            }
        }
    }
    config::write_locked(&repo.path("qemu-ci/kernels.lock"), &lock)?;
    Ok(well)
}

/// `cargo ci fetch`: fills the cache. True when each required kernel is there.
///
/// # Errors
/// The cache cannot be used at all.
pub fn fetch(repo: &Repo, arch: Arch, names: Option<&str>, strict: bool) -> Result<bool> {
    let chosen = chosen(repo, arch, names)?;
    let obtained = Fetcher::new(Cache::of_user()?, strict).obtain_all(&chosen, crew::processors());
    let mut well = true;
    for ((wanted, _), obtained) in chosen.iter().zip(obtained) {
        match obtained {
            Ok(Obtained { kernel, drift, .. }) => {
                let drift = drift.map(|drift| format!("DRIFT: {drift}")).unwrap_or_default();
                println!("{:<6} {:<32} {:<20} {drift}", wanted.name, kernel.release, kernel.version);
            }
            Err(error) => {
                well &= !wanted.required;
                println!("{:<6} UNAVAILABLE: {error:#}", wanted.name);
            }
        }
    }
    Ok(well)
}

/// `cargo ci list`: what there is.
///
/// # Errors
/// A file cannot be read.
pub fn list(repo: &Repo) -> Result<bool> {
    let cache = Cache::of_user()?;
    println!("{:<13} {:<9} {:<32} {:<20} {:<18} cache", "name", "required", "release", "version", "suite");
    let all = Arch::ALL.map(|arch| chosen(repo, arch, Some("all")));
    for (wanted, lock) in all.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten() {
        let required = if wanted.required { "yes" } else { "" };
        let (label, arch, name) = (wanted.label(), wanted.arch, &wanted.name);
        let Some(kernel) = lock else {
            println!("{label:<13} {required:<9} not resolved: cargo ci resolve --arch {arch} --kernel {name}");
            continue;
        };
        let first = kernel.package.first();
        let there = first.is_some_and(|first| Image::find(&cache, &kernel.release, &first.sha256).is_some());
        let there = if there { "unpacked" } else { "" };
        let Locked { release, version, suite, .. } = kernel;
        println!("{label:<13} {required:<9} {release:<32} {version:<20} {suite:<18} {there}");
    }
    Ok(true)
}
