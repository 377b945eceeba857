//! The virtual adapter and its routes.

use lanrage_agent_core::adapter::{Fault, Route};

use super::{DoctorCheck, ok, problem, typed};

/// Everything about an adapter that has these faults. None: it is gone.
pub fn checks(tun: &str, faults: Option<&[Fault]>) -> Vec<DoctorCheck> {
    let Some(faults) = faults else {
        return vec![problem(
            "adapter",
            format!("the virtual adapter {tun} is gone: something has deleted it"),
            format!("restart the agent: {}, then {}", typed("down"), typed("up")),
        )];
    };
    let judge = |id: &str, right: String, is_meant: &dyn Fn(&Fault) -> bool| match faults.iter().find(|f| is_meant(f)) {
        None => ok(id, right),
        Some(fault) => problem(id, fault.to_string(), remedy(fault)),
    };
    let mut checks = vec![
        judge("adapter", format!("the virtual adapter {tun} is up"), &|fault| {
            matches!(fault, Fault::Down)
        }),
        judge(
            "address",
            "the virtual adapter has its addresses".to_owned(),
            &|fault| matches!(fault, Fault::Address(_)),
        ),
        judge("mtu", "the virtual adapter's MTU is right".to_owned(), &|fault| {
            matches!(fault, Fault::Mtu(_))
        }),
        judge(
            "multicast_flag",
            "the virtual adapter takes multicasts".to_owned(),
            &|fault| matches!(fault, Fault::NoMulticast),
        ),
        judge(
            "metric",
            "no other adapter comes before the virtual one".to_owned(),
            &|fault| matches!(fault, Fault::Metric | Fault::Behind(..)),
        ),
    ];
    if cfg!(windows) {
        checks.push(judge(
            "network_category",
            "the system takes the virtual LAN for a private network".to_owned(),
            &|fault| matches!(fault, Fault::PublicNetwork),
        ));
    }
    checks.extend(Route::ALL.into_iter().map(|route| {
        let right = format!("{} has its route", route.purpose());
        judge(
            route.name(),
            right,
            &|fault| matches!(fault, Fault::Missing(missing) if *missing == route),
        )
    }));
    checks
}

fn remedy(fault: &Fault) -> String {
    match fault {
        Fault::Behind(_, other) => format!(
            "{} puts the virtual LAN in front again; if that does not last, another program sets it: `ip rule` and `ip route` show what leads to {other}",
            typed("doctor --fix")
        ),
        _ => format!("{} sets it again", typed("doctor --fix")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Verdict;

    fn verdict(faults: &[Fault], id: &str) -> (Verdict, String) {
        let checks = checks("lanrage0", Some(faults));
        let found = checks.into_iter().find(|check| check.id == id).unwrap();
        (found.verdict, found.what)
    }

    #[test]
    fn every_fault_has_its_check_and_its_remedy() {
        let faults = [
            Fault::Down,
            Fault::Mtu(9000),
            Fault::NoMulticast,
            Fault::Address("10.64.0.1".parse().unwrap()),
            Fault::Missing(Route::Broadcast),
            Fault::Behind(Route::Multicast, "wg0".to_owned()),
        ];
        for fault in faults {
            let checks = checks("lanrage0", Some(std::slice::from_ref(&fault)));
            let wrong: Vec<&DoctorCheck> = checks.iter().filter(|check| check.verdict != Verdict::Ok).collect();
            assert_eq!(wrong.len(), 1, "{fault:?}: {wrong:?}");
            assert!(wrong[0].fix.as_ref().is_some_and(|fix| fix.contains("doctor --fix")));
        }
    }

    #[test]
    fn an_adapter_without_faults_is_ok_throughout_and_one_that_is_gone_a_problem() {
        assert!(
            checks("lanrage0", Some(&[]))
                .iter()
                .all(|check| check.verdict == Verdict::Ok)
        );
        let gone = checks("lanrage0", None);
        assert_eq!(gone[0].verdict, Verdict::Problem);
        assert_eq!(
            verdict(&[Fault::Behind(Route::Multicast, "wg0".to_owned())], "metric"),
            (
                Verdict::Problem,
                "what is sent to multicast groups (224.0.0.0/4) goes out by wg0".to_owned()
            )
        );
    }
}
