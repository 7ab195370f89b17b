//! Domains from a file (`--domains`, in the form of `motet domains load`), so that a platform starts with what it was
//! given.
//!
//! What the file says is set up at each start of control, where the store has something else. What it does not
//! mention is left alone, so that domains may be set up otherwise, too.

use crate::conference::{Feature, Level, Request, Response, feature_name};
use crate::css::numbers;
use crate::refusal::Refusal;
use crate::runtime::Control;
use anyhow::{Context, Result, bail};
use motet_proto::domains::{Domain, NumberRange, SetRequest};
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;
use tonic::Code;

/// Pause before what could not be set up is tried again.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    domain: Vec<Given>,
}

/// As people write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    moid: String,
    level: String,
    #[serde(default)]
    parent: String,
    #[serde(default)]
    name: String,
    #[serde(default = "yes")]
    used: bool,
    small_max: Option<u32>,
    large_max: Option<u32>,
    #[serde(default)]
    forbid: Vec<String>,
    #[serde(default)]
    numbers: Vec<String>,
    #[serde(default)]
    home: String,
}

fn yes() -> bool {
    true
}

/// Reads a file. Errors name the domain and the field.
pub(crate) fn read(path: &Path) -> Result<Vec<Domain>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("--domains: cannot read {}", path.display()))?;
    let file: File = toml::from_str(&text).with_context(|| format!("--domains: {}", path.display()))?;
    let domain = |given: Given| {
        let moid = given.moid.clone();
        domain(given).with_context(|| format!("--domains: {}: domain '{moid}'", path.display()))
    };
    file.domain.into_iter().map(domain).collect()
}

fn domain(given: Given) -> Result<Domain> {
    let level = match given.level.as_str() {
        "user" => Level::User,
        "platform" => Level::Platform,
        "service" => Level::Service,
        other => bail!("level: '{other}' is none of user, platform and service"),
    };
    let mut forbidden = Vec::new();
    for name in &given.forbid {
        let all = [Feature::H265, Feature::FullHd, Feature::Mixing, Feature::Recording];
        match all.into_iter().find(|feature| feature_name(*feature) == name) {
            Some(feature) => forbidden.push(feature.into()),
            None => bail!("forbid: '{name}' is none of h265, full-hd, mixing and recording"),
        }
    }
    forbidden.sort_unstable();
    let mut ranges = Vec::new();
    for range in &given.numbers {
        let (first, last) = numbers(range).map_err(|why| anyhow::anyhow!("numbers: '{range}' {why}"))?;
        ranges.push(NumberRange { first, last });
    }
    Ok(Domain {
        moid: given.moid,
        level: level.into(),
        parent: given.parent,
        name: given.name,
        disabled: !given.used,
        small_max: given.small_max,
        large_max: given.large_max,
        forbidden,
        numbers: ranges,
        home_platform: given.home,
        ..Domain::default()
    })
}

/// Sets them up, in whatever order they need each other, as soon as the store can be used.
pub(crate) async fn set_up(control: Control, mut wanted: Vec<Domain>) {
    while !wanted.is_empty() {
        let mut refused: Vec<(Domain, Refusal)> = Vec::new();
        let before = wanted.len();
        for domain in wanted {
            if let Err(refusal) = set_one(&control, &domain).await {
                refused.push((domain, refusal));
            }
        }
        let again = |refusal: &Refusal| matches!(refusal.code, Code::Unavailable | Code::Aborted);
        let hope = refused.len() < before || refused.iter().any(|(_, refusal)| again(refusal));
        if !hope {
            for (domain, refusal) in &refused {
                tracing::error!(moid = %domain.moid, %refusal, "a domain of --domains was not set up");
            }
            return;
        }
        wanted = refused.into_iter().map(|(domain, _)| domain).collect();
        if !wanted.is_empty() {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

async fn set_one(control: &Control, domain: &Domain) -> Result<(), Refusal> {
    let known = control.request(Request::ListDomains).await?;
    if let Response::Domains(list) = known {
        let known = list.domains.into_iter().find(|known| known.moid == domain.moid);
        if known.is_some_and(|known| Domain { version: 0, ..known } == *domain) {
            return Ok(());
        }
    }
    control.request(Request::SetDomain(SetRequest { domain: Some(domain.clone()) })).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::css::{CssOptions, start};

    const FILE: &str = r#"
        [[domain]]
        moid = "u1"
        level = "user"
        parent = "s1"
        home = "platform"
        small_max = 10
        forbid = ["recording", "h265"]

        [[domain]]
        moid = "platform"
        level = "platform"
        parent = "s1"
        numbers = ["700-799"]

        [[domain]]
        moid = "s1"
        level = "service"
        name = "all of it"
    "#;

    async fn domains(control: &Control) -> Vec<Domain> {
        match control.request(Request::ListDomains).await {
            Ok(Response::Domains(list)) => list.domains,
            other => panic!("another answer: {other:?}"),
        }
    }

    #[tokio::test]
    async fn what_a_file_says_is_set_up_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("domains.toml");
        std::fs::write(&path, FILE).expect("a file");
        let options = CssOptions {
            listen: "127.0.0.1:0".parse().expect("an address"),
            metrics: Some("off".parse().expect("off")),
            store: "embedded".into(),
            domains: Some(path.clone()),
            ..CssOptions::default()
        };
        let css = start(options).await.expect("control starts");
        // A user domain comes before what it needs, so it takes a second round at least.
        let mut known = Vec::new();
        for _ in 0..1_200 {
            known = domains(css.control()).await;
            if known.len() == 3 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let moids: Vec<&str> = known.iter().map(|domain| domain.moid.as_str()).collect();
        assert_eq!(moids, ["platform", "s1", "u1"]);
        assert_eq!((known[2].small_max, known[2].forbidden.len()), (Some(10), 2));
        // The same again changes nothing.
        set_up(css.control().clone(), read(&path).expect("it was read before")).await;
        assert_eq!(domains(css.control()).await, known);
        css.shutdown().await;
    }

    #[test]
    fn what_a_file_cannot_say_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("domains.toml");
        assert!(format!("{:#}", read(&path).expect_err("it is not there")).contains("cannot read"));
        for (text, part) in [
            ("[[domain]]\nmoid = 'm'\nlevel = 'city'", "domain 'm': level: 'city'"),
            ("[[domain]]\nmoid = 'm'\nlevel = 'user'\nforbid = ['x']", "forbid: 'x'"),
            ("[[domain]]\nmoid = 'm'\nlevel = 'user'\nnumbers = ['9-1']", "numbers: '9-1'"),
            ("[[domain]]\nmoid = 'm'\nlevel = 'user'\ncolour = 'red'", "colour"),
            ("[[domains]]\n", "domains"),
        ] {
            std::fs::write(&path, text).expect("a file");
            let error = format!("{:#}", read(&path).expect_err("it makes no sense"));
            assert!(error.contains("--domains") && error.contains(part), "{error}");
        }
    }
}
