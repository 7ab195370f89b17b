//! The shortest run of `make chaos`: what is killed loses nothing.

use clap::Parser;
use motet_chaos::options::Options;
use motet_chaos::rows::smoke;

#[test]
fn a_node_control_and_redis_die_one_after_another() {
    let options = Options::parse_from(["motet-chaos", "--motet", env!("CARGO_BIN_EXE_motet")]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let wrong = runtime.expect("threads can be started").block_on(smoke(&options, 1));
    let wrong = wrong.expect("processes start, and do what is asked");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
