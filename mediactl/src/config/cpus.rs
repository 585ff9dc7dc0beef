//! Which core runs what: the CPU list and the placement made from it.
//!
//! ```text
//! machine with cores 0 1 2 3, nothing given          control 0, shards 1 2 3
//! --shards 2                                         control 0, shards 1 2
//! --cpus 2-3                                         control 0, shards 2 3
//! --cpus 0-3                                         control 0 shared with shard 0 (warning)
//! --shards 8 on four cores                           nothing pinned (warning)
//! ```
//!
//! The control core gets the lowest core because the kernel's own housekeeping and most interrupt defaults live there; a
//! shard is better off elsewhere. More shards than cores are allowed for tests: they run unpinned, since two pinned
//! shards on one core would each wait for the other while a third core idles.

use std::str::FromStr;

use corelane_shard::SHARDS_MAX;

use super::Given;
use crate::problem::{Place, Problem};

/// A list of cores such as `0,2-3`, in the order given, no core twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuList(pub Vec<usize>);

/// The largest core number that is believed; a typo such as `0-99999999` must not build a list of that length.
const CPU_MAX: usize = 4095;

impl FromStr for CpuList {
    type Err = String;

    fn from_str(text: &str) -> Result<CpuList, String> {
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (parse_cpu(first)?, parse_cpu(last)?);
            if first > last {
                return Err(format!("`{part}` counts downwards"));
            }
            for cpu in first..=last {
                if cpus.contains(&cpu) {
                    return Err(format!("core {cpu} is listed twice"));
                }
                cpus.push(cpu);
            }
        }
        Ok(CpuList(cpus))
    }
}

fn parse_cpu(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(cpu) if cpu <= CPU_MAX => Ok(cpu),
        _ => Err(format!("`{text}` is no core number (a list looks like `0,2-3`)")),
    }
}

/// Which core runs what; `None` runs wherever the kernel puts it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// The core of each shard; the length is the number of shards.
    pub shards: Vec<Option<usize>>,
    /// The control core.
    pub control: Option<usize>,
}

/// Places shards and control core on the cores `machine` that this process may use (sorted, not empty).
pub(super) fn place(given: &Given, machine: &[usize], problems: &mut Vec<Problem>) -> Placement {
    let known = |cpu: &usize| machine.contains(cpu);
    let listed = given.cpus.as_ref().map(|cpus| {
        for cpu in cpus.value.0.iter().filter(|cpu| !known(cpu)) {
            problems.push(missing(&cpus.place, *cpu, machine));
        }
        cpus.value.0.clone()
    });
    if let Some(control) = given.control_cpu.as_ref().filter(|control| !known(&control.value)) {
        problems.push(missing(&control.place, control.value, machine));
    }

    let lowest = machine.first().copied().unwrap_or(0);
    let control = given.control_cpu.as_ref().map(|control| control.value);
    // Cores that shards may have: those listed, else all but the control core, else (a single core) that one as well.
    let available = listed.as_ref().map_or(machine.len(), Vec::len);
    let wanted = given.shards.as_ref().map(|shards| usize::from(shards.value));
    let free: Vec<usize> = listed.unwrap_or_else(|| {
        let spared = control.unwrap_or(lowest);
        let mut free: Vec<usize> = machine.iter().copied().filter(|cpu| *cpu != spared).collect();
        // All cores only when the operator asks for as many shards: the spared one comes last.
        if free.is_empty() || wanted.is_some_and(|shards| shards > free.len() && shards <= machine.len()) {
            free.push(spared);
        }
        free
    });
    let most = SHARDS_MAX;
    if wanted.is_none() && free.len() > most {
        let place = given.cpus.as_ref().map_or(Place::Machine, |cpus| cpus.place.clone());
        problems.push(Problem::warning(
            place,
            format!("{} cores for shards, but a node has at most {most} shards", free.len()),
            "the first ones are used; `cpus` chooses others",
        ));
    }
    let count = wanted.unwrap_or(free.len().min(most));
    let shards: Vec<Option<usize>> =
        if count > free.len() { vec![None; count] } else { free[..count].iter().copied().map(Some).collect() };

    if count > free.len() {
        let place = given.shards.as_ref().map_or(Place::Default("shards"), |shards| shards.place.clone());
        problems.push(Problem::warning(
            place,
            format!("{count} shards on {available} cores: shards are not pinned and share cores"),
            format!("for production take `shards = {}` or fewer", free.len()),
        ));
    }
    let control =
        control.unwrap_or_else(|| machine.iter().copied().find(|cpu| !shards.contains(&Some(*cpu))).unwrap_or(lowest));
    if let Some(shard) = shards.iter().position(|cpu| *cpu == Some(control)) {
        let place = given.control_cpu.as_ref().map_or(Place::Machine, |control| control.place.clone());
        problems.push(Problem::warning(
            place,
            format!("the control core shares core {control} with shard {shard}"),
            "leave one core to the control core: one shard less, or another `control_cpu`",
        ));
    }
    Placement { shards, control: known(&control).then_some(control) }
}

fn missing(place: &Place, cpu: usize, machine: &[usize]) -> Problem {
    let cores: Vec<String> = machine.iter().map(usize::to_string).collect();
    Problem::error(
        place.clone(),
        format!("core {cpu} does not exist or is not allowed to this process"),
        format!("choose among {}", cores.join(",")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Sourced;

    fn given(shards: Option<u8>, cpus: Option<&str>, control_cpu: Option<usize>) -> Given {
        Given {
            shards: shards.map(|shards| Sourced::new(shards, Place::Flag("--shards"))),
            cpus: cpus.map(|cpus| Sourced::new(cpus.parse().unwrap(), Place::Flag("--cpus"))),
            control_cpu: control_cpu.map(|cpu| Sourced::new(cpu, Place::Flag("--control-cpu"))),
            ..Given::default()
        }
    }

    #[test]
    fn reads_lists() {
        assert_eq!("0,2-3".parse(), Ok(CpuList(vec![0, 2, 3])));
        assert_eq!("5".parse(), Ok(CpuList(vec![5])));
        for bad in ["", "a", "3-2", "0,0", "1-2,2", "0-99999999", "-1", "1-"] {
            assert!(bad.parse::<CpuList>().is_err(), "{bad}");
        }
    }

    /// Shard cores, control core, texts of all problems.
    fn placed(given: &Given, machine: &[usize]) -> (Vec<Option<usize>>, Option<usize>, Vec<String>) {
        let mut problems = Vec::new();
        let placement = place(given, machine, &mut problems);
        (placement.shards, placement.control, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn spares_the_lowest_core_for_control() {
        let (shards, control, problems) = placed(&given(None, None, None), &[0, 1, 2, 3]);
        assert_eq!((shards, control), (vec![Some(1), Some(2), Some(3)], Some(0)));
        assert_eq!(problems, [""; 0]);
        let (shards, control, _) = placed(&given(Some(2), None, None), &[0, 1, 2, 3]);
        assert_eq!((shards, control), (vec![Some(1), Some(2)], Some(0)));
        let (shards, control, _) = placed(&given(None, None, Some(3)), &[0, 1, 2, 3]);
        assert_eq!((shards, control), (vec![Some(0), Some(1), Some(2)], Some(3)));
    }

    #[test]
    fn obeys_a_list() {
        let (shards, control, problems) = placed(&given(None, Some("2-3"), None), &[0, 1, 2, 3]);
        assert_eq!((shards, control), (vec![Some(2), Some(3)], Some(0)));
        assert_eq!(problems, [""; 0]);
    }

    #[test]
    fn warns_when_control_and_shard_share() {
        for (given, machine) in [
            (given(None, None, None), &[0][..]),
            (given(Some(2), None, None), &[0, 1]),
            (given(None, Some("0-1"), None), &[0, 1]),
        ] {
            let (_, control, problems) = placed(&given, machine);
            assert_eq!(control, Some(0));
            assert!(problems.len() == 1 && problems[0].contains("shares core 0"), "{problems:?}");
        }
    }

    #[test]
    fn runs_unpinned_with_more_shards_than_cores() {
        let (shards, control, problems) = placed(&given(Some(4), None, None), &[0, 1]);
        assert_eq!((shards, control), (vec![None; 4], Some(0)));
        assert!(problems[0].starts_with("warning: --shards: 4 shards on 2 cores"), "{problems:?}");
    }

    #[test]
    fn refuses_cores_that_do_not_exist() {
        let (_, _, problems) = placed(&given(None, Some("1,7"), Some(9)), &[0, 1]);
        assert!(problems.iter().any(|p| p.starts_with("error: --cpus: core 7 does not exist")), "{problems:?}");
        assert!(problems.iter().any(|p| p.starts_with("error: --control-cpu: core 9 does not exist")), "{problems:?}");
        assert!(problems.iter().any(|p| p.ends_with("choose among 0,1")), "{problems:?}");
    }
}
