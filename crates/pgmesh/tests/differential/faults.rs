//! Answers that differ and ought not to: each is ignored until what is wrong is mended, and then
//! joins the list of the file that it belongs to.

use crate::script::Script;
use crate::{cases, every_way};

#[test]
#[ignore = "session: the words SET TIME ZONE LOCAL are not seen to reset"]
fn set_time_zone_local_goes_back_to_the_login() {
    every_way(cases![set_time_zone_local]);
}

fn set_time_zone_local(s: &mut Script) {
    s.log_in(&[("TimeZone", "CET")]).query("SET TimeZone = 'EET'");
    s.query("SET TIME ZONE LOCAL").query("SHOW TimeZone");
}
