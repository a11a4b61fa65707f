//! Answers that differ and ought not to: each is ignored until what is wrong is mended, and then
//! joins the list of the file that it belongs to.

use crate::raw::{flush, run_unnamed, terminate};
use crate::script::Script;
use crate::{cases, every_way, run as run_cases};

#[test]
#[ignore = "session: abandon ends an open batch with a Sync, and that commits it"]
fn a_batch_of_a_client_that_left_before_its_sync_is_rolled_back() {
    let mut stage = crate::Stage::new();
    run_cases(cases![a_batch_cut_off, a_batch_and_goodbye], |_, script| {
        let route = stage.one_server();
        stage.compare_on(script, &[route])
    });
}

const TABLE: &str = "DROP TABLE IF EXISTS left_over; CREATE TABLE left_over (n int4)";

fn a_batch_cut_off(s: &mut Script) {
    let insert = run_unnamed("INSERT INTO left_over VALUES (1)", &[]);
    s.before(TABLE).on(1).on(0).send(&[insert, flush()]).until(b'C', 1).hang_up();
    s.on(1).query("LOCK TABLE left_over; TABLE left_over");
}

fn a_batch_and_goodbye(s: &mut Script) {
    let insert = run_unnamed("INSERT INTO left_over VALUES (1)", &[]);
    s.before(TABLE).on(1).on(0).send(&[insert, terminate()]).closed();
    s.on(1).query("LOCK TABLE left_over; TABLE left_over");
}

#[test]
#[ignore = "session: the words SET TIME ZONE LOCAL are not seen to reset"]
fn set_time_zone_local_goes_back_to_the_login() {
    every_way(cases![set_time_zone_local]);
}

fn set_time_zone_local(s: &mut Script) {
    s.log_in(&[("TimeZone", "CET")]).query("SET TimeZone = 'EET'");
    s.query("SET TIME ZONE LOCAL").query("SHOW TimeZone");
}
