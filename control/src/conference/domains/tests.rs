//! The tree of domains.

use super::*;
use proptest::prelude::*;

fn domain(moid: &str, level: Level, parent: &str) -> Domain {
    Domain { moid: moid.into(), level: level as i32, parent: parent.into(), ..Domain::default() }
}

/// Service domains a > b > c > d > e, a user in each, platforms where they are named.
fn chain(with_platforms: &[&str]) -> Domains {
    let mut all = Vec::new();
    for (index, moid) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let above = ["", "a", "b", "c", "d"][index];
        all.push(domain(moid, Level::Service, above));
        all.push(domain(&format!("user-{moid}"), Level::User, moid));
    }
    all.extend(with_platforms.iter().map(|moid| domain(&format!("platform-{moid}"), Level::Platform, moid)));
    Domains::new(all)
}

#[test]
fn platforms_are_borrowed_from_the_nearest_above() {
    for (with, user, expected) in [
        (&["a"][..], "user-a", "platform-a"),
        (&["a"], "user-b", "platform-a"),
        (&["a"], "user-e", "platform-a"),
        (&["a", "c"], "user-e", "platform-c"),
        (&["a", "c"], "user-b", "platform-a"),
        (&["a", "e"], "user-e", "platform-e"),
    ] {
        let domains = chain(with);
        let platforms = domains.platforms_for(user).expect("platforms");
        assert_eq!(
            platforms.iter().map(|p| p.moid.as_str()).collect::<Vec<_>>(),
            [expected],
            "{with:?} {user}"
        );
    }
    assert_eq!(chain(&["b"]).platforms_for("user-a").expect_err("none above").code, Code::FailedPrecondition);
    let mut domains = chain(&["a", "c"]);
    domains.known.get_mut("platform-c").expect("known").disabled = true;
    assert_eq!(domains.platforms_for("user-e").expect("borrowed")[0].moid, "platform-a");
    domains.known.get_mut("b").expect("known").disabled = true;
    assert_eq!(domains.platforms_for("user-e").expect_err("cut off").code, Code::PermissionDenied);
}

#[test]
fn the_home_platform_comes_first() {
    let mut domains = chain(&["a"]);
    domains.known.insert("z".into(), domain("z", Level::Platform, "a"));
    let first = |domains: &Domains| domains.platforms_for("user-a").expect("platforms")[0].moid.clone();
    assert_eq!(first(&domains), "platform-a");
    domains.known.get_mut("user-a").expect("known").home_platform = "z".into();
    assert_eq!(first(&domains), "z");
}

#[test]
fn what_does_not_fit_is_refused_and_named() {
    let mut domains = chain(&["a", "b"]);
    domains.known.get_mut("platform-a").expect("known").numbers = vec![(100, 199)];
    let numbers = |moid: &str, parent: &str, ranges: &[(u64, u64)]| Domain {
        numbers: ranges.to_vec(),
        ..domain(moid, Level::Platform, parent)
    };
    for (domain, field) in [
        (domain("", Level::User, "a"), "domain.moid"),
        (domain("a b", Level::User, "a"), "domain.moid"),
        (Domain { level: 9, ..domain("x", Level::User, "a") }, "domain.level"),
        (domain("a", Level::User, "b"), "domain.level"),
        (domain("x", Level::User, ""), "domain.parent"),
        (domain("x", Level::Platform, "nothing"), "domain.parent"),
        (domain("x", Level::User, "user-a"), "domain.parent"),
        (domain("a", Level::Service, "a"), "domain.parent"),
        (domain("a", Level::Service, "e"), "domain.parent"),
        (numbers("platform-b", "b", &[(300, 200)]), "domain.numbers[0]"),
        (numbers("platform-b", "b", &[(10, 20), (150, 400)]), "domain.numbers[1]"),
        (Domain { numbers: vec![(1, 2)], ..domain("x", Level::User, "a") }, "domain.numbers[0]"),
        (Domain { forbidden: [77].into(), ..domain("x", Level::User, "a") }, "domain.forbidden"),
        (Domain { home_platform: "a".into(), ..domain("x", Level::User, "a") }, "domain.home_platform"),
        (Domain { name: "x".repeat(129), ..domain("x", Level::User, "a") }, "domain.name"),
    ] {
        assert_eq!(domains.check(&domain).expect_err("a refusal").field, field, "{domain:?}");
    }
    assert_eq!(domains.check(&numbers("platform-a", "a", &[(100, 250)])), Ok(()), "its own numbers");
}

proptest! {
    /// Any sequence of moves that are taken keeps a forest: every way up ends.
    #[test]
    fn moves_keep_a_forest(moves in proptest::collection::vec((0..8_usize, 0..9_usize), 0..60)) {
        let name = |index: usize| if index == 8 { String::new() } else { format!("s{index}") };
        let mut domains = Domains::new((0..8).map(|i| domain(&name(i), Level::Service, "")).collect());
        for (which, above) in moves {
            let moved = domain(&name(which), Level::Service, &name(above));
            if domains.check(&moved).is_ok() {
                domains.known.insert(moved.moid.clone(), moved);
            }
            for start in domains.iter() {
                let mut at = start;
                for _ in 0..9 {
                    match domains.find(&at.parent) {
                        Some(above) => at = above,
                        None => break,
                    }
                }
                prop_assert!(domains.find(&at.parent).is_none(), "{} is in a circle", start.moid);
            }
        }
    }
}
